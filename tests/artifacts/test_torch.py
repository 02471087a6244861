"""Tensors and checkpoints as safetensors: bit by bit, and readable by the library.

PyTorch without CUDA is not on PyPI: where it is not installed, these tests are skipped.
"""

from __future__ import annotations

import json
import math
import struct
from collections import OrderedDict

import numpy as np
import pytest
from windsock.provider.artifacts.handle import Artifact
from windsock.provider.artifacts.materializers import tensors
from windsock.provider.artifacts.materializers.base import LoadRequest
from windsock.provider.artifacts.materializers.choose import materializer_named
from windsock.provider.artifacts.saving import load, save
from windsock.provider.errors import ArtifactCorrupted, MaterializerNotFound, PickleRefused


def _file(header: dict, data: bytes = b"") -> memoryview:
    text = json.dumps(header).encode()
    return memoryview(bytearray(struct.pack("<Q", len(text)) + text + data))


def _one(**facts) -> dict:
    return {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **facts}}


class TestTensors:
    torch = pytest.importorskip("torch")

    @pytest.mark.parametrize("name", sorted(tensors._CODES))
    def test_of_every_type_bit_by_bit(self, name, round_trip):
        kind = getattr(self.torch, name)
        tensor = self.torch.arange(24).to(kind).reshape(2, 3, 4)
        loaded = round_trip(tensor)
        assert (loaded.dtype, loaded.shape) == (kind, tensor.shape)
        assert self.torch.equal(loaded.view(self.torch.uint8), tensor.view(self.torch.uint8))
        loaded[0] = 0  # its own memory

    def test_views_scalars_and_empty_ones(self, round_trip):
        matrix = self.torch.arange(12.0).reshape(3, 4)
        for tensor in (matrix.T, matrix[:, ::2], self.torch.tensor(3.5), self.torch.empty(0, 7)):
            assert self.torch.equal(round_trip(tensor), tensor)
        complex_ = self.torch.tensor([1 + 2j]).conj()
        assert self.torch.equal(round_trip(complex_), complex_.resolve_conj())

    def test_a_state_dict_and_the_module_takes_it(self, round_trip):
        module = self._module()
        state = module.state_dict()
        loaded = round_trip(state)
        assert type(loaded) is OrderedDict
        assert list(loaded) == list(state)
        assert loaded._metadata == state._metadata
        other = self._module()
        other.load_state_dict(loaded)
        x = self.torch.ones(2, 4)
        assert self.torch.equal(other.eval()(x), module.eval()(x))

    def test_a_checkpoint_is_one_file(self, store, round_trip):
        module = self._module()
        optimizer = self.torch.optim.Adam(module.parameters())
        module(self.torch.ones(5, 4)).sum().backward()
        optimizer.step()
        value = {
            "model": module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "epoch": 3,
            "loss": math.nan,
            "best": (1, [None, "a"]),
        }
        stored = save(value, store)
        assert stored.uri.endswith(".safetensors")
        loaded = round_trip(value)
        optimizer.load_state_dict(loaded["optimizer"])
        assert loaded["best"] == (1, [None, "a"])
        assert math.isnan(loaded["loss"])
        assert self.torch.equal(loaded["model"]["0.weight"], module.state_dict()["0.weight"])

    def test_tied_weights_are_stored_once_and_stay_tied(self, store, round_trip):
        weight = self.torch.randn(1000)
        value = {"in": weight, "out": weight, "copy": weight.clone()}
        assert save(value, store).size < 2.5 * 4000
        loaded = round_trip(value)
        assert loaded["in"].data_ptr() == loaded["out"].data_ptr() != loaded["copy"].data_ptr()

    def test_beside_a_table_each_is_a_file(self, round_trip):
        import pandas as pd

        loaded = round_trip({"weights": self.torch.ones(3), "data": pd.DataFrame({"a": [1]}), "array": np.ones(2)})
        assert self.torch.equal(loaded["weights"], self.torch.ones(3))

    def test_names_that_meet_are_kept_apart(self, round_trip):
        value = {"a": {"b": self.torch.ones(1)}, "a.b": self.torch.zeros(1), "value": [self.torch.ones(2)]}
        loaded = round_trip(value)
        assert (loaded["a"]["b"].item(), loaded["a.b"].item()) == (1.0, 0.0)

    def test_what_it_cannot_hold_is_refused(self, store):
        for tensor in (self.torch.eye(3).to_sparse(), self.torch.zeros(2, dtype=self.torch.complex128)):
            with pytest.raises(MaterializerNotFound, match="safetensors cannot hold") as caught:
                save(tensor, store)
            assert "@step(pickle=True)" in caught.value.hint

    def test_a_whole_module_only_by_pickle(self, store):
        module = self._module()
        with pytest.raises(MaterializerNotFound, match="can only be pickled") as caught:
            save(module, store)
        assert "state_dict()" in caught.value.hint
        stored = save(module, store, allow_pickle=True)
        ref = {"uri": stored.uri, "digest": stored.digest, "type": stored.type}
        assert save(module, store, allow_pickle=True).digest == stored.digest
        with pytest.raises(PickleRefused):
            load(ref, store)
        loaded = load(ref, store, allow_pickle=True)
        assert self.torch.equal(loaded[0].weight, module[0].weight)

    def test_metadata(self, store):
        assert save(self.torch.arange(6.0).reshape(2, 3), store).metadata["shape"] == [2, 3]
        metadata = save(self._module().state_dict(), store).metadata
        assert metadata["schema"]["0.weight"] == "float32[3, 4]"
        assert metadata["parameters"] == 4 * 3 + 3 + 4 * 3 + 1
        json.dumps(metadata, allow_nan=False)

    def test_a_shape_that_is_not_the_memory(self):
        for facts in ({"shape": [3]}, {"shape": [1 << 40, 1 << 40]}, {"dtype": "F64"}):
            with pytest.raises(ArtifactCorrupted, match="does not have 8 bytes"):
                materializer_named("tensors").read(_file(_one(**facts), b"12345678"), LoadRequest("torch.Tensor"))

    def test_a_structure_that_does_not_fit(self):
        for structure in ("{", '{"$tensor": "y"}', '{"$ordered": 1}', '{"$evil": 1}'):
            header = {**_one(), "__metadata__": {"windsock": structure}}
            with pytest.raises(ArtifactCorrupted):
                materializer_named("tensors").read(_file(header, b"12345678"), LoadRequest("builtins.dict"))

    def _module(self):
        torch = self.torch
        return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.BatchNorm1d(3))


class TestTheLibrary:
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")

    def test_reads_what_is_written_here_and_the_reverse(self, store, tmp_path):
        state = {
            "w": self.torch.randn(5, 3),
            "b": self.torch.ones(3, dtype=self.torch.bfloat16),
            "n": self.torch.tensor(7),
        }
        stored = save(state, store)
        handle = Artifact.bind({"uri": stored.uri, "digest": stored.digest, "type": stored.type}, store)
        found = self.safetensors.load_file(handle.path())
        assert all(self.torch.equal(found[name], state[name]) for name in state)
        self.safetensors.save_file(state, tmp_path / "theirs")
        data = memoryview(bytearray((tmp_path / "theirs").read_bytes()))
        found = materializer_named("tensors").read(data, LoadRequest("builtins.dict"))
        assert all(self.torch.equal(found[name], state[name]) for name in state)

    def test_opens_lazily(self, store):
        stored = save({"w": self.torch.arange(10.0), "x": self.torch.ones(3)}, store)
        opened = Artifact.bind({"uri": stored.uri, "digest": stored.digest, "type": stored.type}, store).open()
        assert sorted(opened.keys()) == ["w", "x"]
        assert opened.get_slice("w")[2:4].tolist() == [2.0, 3.0]
