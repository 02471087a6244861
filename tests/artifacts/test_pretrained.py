"""Checkpoints that ``save_pretrained`` writes: the folder as it is, without pickles and without foreign code."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from windsock.provider.artifacts.materializers.base import LoadRequest
from windsock.provider.artifacts.materializers.choose import materializer_named
from windsock.provider.artifacts.saving import load, save
from windsock.provider.errors import ArtifactCorrupted, MaterializerNotFound, PickleRefused

sys.path.insert(0, str(Path(__file__).parent))


class TestTheTwoMethods:
    @pytest.fixture
    def scaler(self):
        from checkpoints import Scaler

        return Scaler(np.array([1.0, 2.0]), "wide")

    def test_are_all_that_it_takes(self, scaler, round_trip):
        loaded = round_trip(scaler)
        assert type(loaded) is type(scaler)
        assert (loaded.kind, loaded.factors.tolist()) == ("wide", [1.0, 2.0])

    def test_nothing_is_asked_of_the_hub(self, scaler, store):
        stored = save(scaler, store)
        load({"uri": stored.uri, "digest": stored.digest, "type": stored.type}, store)
        assert type(scaler).options == {"local_files_only": True, "trust_remote_code": False}

    def test_facts(self, scaler, store):
        metadata = save(scaler, store).metadata
        assert metadata["config"] == {"kind": "wide"}
        assert set(metadata["files"]) == {"config.json", "model.safetensors"}

    @pytest.mark.parametrize("name", ["pytorch_model.bin", "modeling_x.py", "a/b/x.PKL", "x.pt", "optimizer.pth"])
    def test_code_is_refused_both_ways(self, name, scaler, store, tmp_path):
        scaler.also = name
        with pytest.raises(MaterializerNotFound, match="which only code could load"):
            save(scaler, store)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"import os")
        with pytest.raises(PickleRefused, match="could run code"):
            materializer_named("pretrained").load(tmp_path, LoadRequest("checkpoints.Scaler"))

    @pytest.mark.parametrize("kind", ["os.system", "builtins.dict", "subprocess.Popen", "json.JSONDecoder"])
    def test_a_class_without_them_is_refused(self, kind, tmp_path):
        with pytest.raises(ArtifactCorrupted, match="has no from_pretrained"):
            materializer_named("pretrained").load(tmp_path, LoadRequest(kind))

    def test_a_folder_that_it_cannot_read_is_an_error_of_ours(self, tmp_path):
        (tmp_path / "config.json").write_text("{")
        with pytest.raises(ArtifactCorrupted, match="cannot read the stored checkpoint"):
            materializer_named("pretrained").load(tmp_path, LoadRequest("checkpoints.Scaler"))

    def test_one_that_cannot_be_found_again_is_refused(self, scaler, store):
        class Local(type(scaler)):
            pass

        with pytest.raises(MaterializerNotFound, match="cannot be imported"):
            save(Local(np.ones(1), "x"), store)


class TestTransformers:
    """They take half a gigabyte with PyTorch: skipped where they are not installed."""

    def test_a_model_its_configuration_and_its_tokenizer(self, round_trip, store):
        torch = pytest.importorskip("torch")
        transformers = pytest.importorskip("transformers")
        tokenizers = pytest.importorskip("tokenizers")
        config = transformers.BertConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=30
        )
        model = transformers.BertModel(config).eval()
        loaded, words = round_trip(model), torch.tensor([[1, 2, 3]])
        assert type(loaded) is transformers.BertModel
        assert torch.equal(loaded(words).last_hidden_state, model(words).last_hidden_state)
        assert save(model, store).metadata["parameters"] == model.num_parameters()
        assert round_trip(config).to_dict() == config.to_dict()
        plain = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "?": 1}, unk_token="?"))
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="?")
        assert round_trip(tokenizer)("a").input_ids == tokenizer("a").input_ids
        json.dumps(save(tokenizer, store).metadata)
