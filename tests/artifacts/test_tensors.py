"""What reads safetensors refuses hostile files; none of this needs PyTorch. See test_torch.py for what does."""

from __future__ import annotations

import json
import struct
from collections import OrderedDict

import pytest
from windsock.provider.artifacts.materializers import tensors
from windsock.provider.artifacts.materializers.base import LoadRequest
from windsock.provider.artifacts.materializers.choose import materializer_named
from windsock.provider.artifacts.saving import save
from windsock.provider.errors import ArtifactCorrupted, MaterializerNotFound, MissingExtra


def _file(header, data: bytes = b"") -> memoryview:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return memoryview(bytearray(struct.pack("<Q", len(text)) + text + data))


def _one(**facts) -> dict:
    return {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **facts}}


HOSTILE = {
    "empty": memoryview(b""),
    "no header": memoryview(b"\x01\x00"),
    "a header longer than the file": memoryview(struct.pack("<Q", 1 << 60) + b"{}"),
    "a header of other JSON": _file(b"[1, 2]"),
    "no JSON": _file(b"\x80\x05cos\nsystem\n."),
    "nested without end": _file(b"[" * 200_000),
    "beyond the file": _file(_one(data_offsets=[0, 800]), b"12345678"),
    "before the file": _file(_one(data_offsets=[-8, 0]), b"12345678"),
    "backwards": _file(_one(data_offsets=[8, 0]), b"12345678"),
    "a negative side": _file(_one(shape=[-2]), b"12345678"),
    "a side that is no number": _file(_one(shape=["2"]), b"12345678"),
    "an unknown type": _file(_one(dtype="os.system"), b"12345678"),
    "no facts": _file({"x": 3}),
    "offsets that are text": _file(_one(data_offsets="ab"), b"12345678"),
}


class TestHostileFiles:
    @pytest.mark.parametrize("case", HOSTILE)
    def test_are_refused(self, case):
        with pytest.raises(ArtifactCorrupted, match="not a readable safetensors file"):
            tensors._read_header(HOSTILE[case])

    def test_a_good_header_is_not(self):
        header, start = tensors._read_header(_file(_one(), b"12345678"))
        assert (header["x"]["shape"], start) == ([2], 8 + len(json.dumps(_one())))

    def test_a_missing_library_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "torch", None)
        with pytest.raises(MissingExtra) as caught:
            materializer_named("tensors").read(_file(_one(), b"12345678"), LoadRequest("torch.Tensor"))
        assert "airflow-provider-windsock[torch]" in caught.value.hint


def test_an_ordered_dict_of_other_things_is_not_taken_for_a_state_dict(store):
    with pytest.raises(MaterializerNotFound, match="OrderedDict"):
        save(OrderedDict(a=1), store)
