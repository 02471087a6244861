"""Keras and ONNX models: the same again, and no forged one runs code or reads a file."""

from __future__ import annotations

import io
import json
import os
import zipfile

import numpy as np
import pytest
from windsock.provider.artifacts.handle import Artifact
from windsock.provider.artifacts.materializers.base import LoadRequest
from windsock.provider.artifacts.materializers.choose import materializer_named
from windsock.provider.artifacts.saving import save
from windsock.provider.errors import ArtifactCorrupted, MaterializerNotFound, PickleRefused

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")


class TestKeras:
    keras = pytest.importorskip("keras")

    def _model(self):
        layers = self.keras.layers
        model = self.keras.Sequential(
            [layers.Input((4,)), layers.Dense(3, "relu"), layers.Dropout(0.1), layers.Dense(1)]
        )
        model.compile("adam", "mse")
        return model

    def test_a_trained_model_with_its_optimizer(self, round_trip):
        model = self._model()
        x = np.ones((8, 4), "float32")
        model.fit(x, np.ones(8), epochs=1, verbose=0)
        loaded = round_trip(model)  # saves twice, and compares: no date and no address is in the file
        assert np.array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
        assert int(loaded.optimizer.iterations.numpy() if hasattr(loaded.optimizer.iterations, "numpy") else 1) == 1

    def test_a_functional_model(self, round_trip):
        inner = self.keras.Input((4,))
        model = self.keras.Model(inner, self.keras.ops.relu(self.keras.layers.Dense(2)(inner)) + 1)
        x = np.ones((2, 4), "float32")
        assert np.array_equal(round_trip(model).predict(x, verbose=0), model.predict(x, verbose=0))

    def test_a_lambda_is_refused_when_it_is_stored(self, store):
        model = self.keras.Sequential([self.keras.layers.Input((4,)), self.keras.layers.Lambda(lambda x: x * 2)])
        with pytest.raises(MaterializerNotFound, match="lambda") as caught:
            save(model, store)
        assert "register_keras_serializable" in caught.value.hint

    def test_metadata(self, store):
        metadata = save(self._model(), store).metadata
        assert metadata["parameters"] == 4 * 3 + 3 + 3 + 1
        assert [layer[1] for layer in metadata["layers"]] == ["Dense", "Dropout", "Dense"]
        json.dumps(metadata, allow_nan=False)

    @pytest.fixture
    def forge(self, tmp_path):
        """A stored model with one thing changed; loading it must raise."""
        path = tmp_path / "model.keras"
        materializer_named("keras").save(self._model(), path)
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}

        def forge(config=None, *, compress=zipfile.ZIP_STORED, **changed: bytes):
            if config is not None:
                found = json.loads(parts["config.json"])
                config(found["config"]["layers"][1])
                changed["config.json"] = json.dumps(found).encode()
            with zipfile.ZipFile(path, "w", compress) as archive:
                for name, data in {**parts, **changed}.items():
                    archive.writestr(name, data)
            return materializer_named("keras").load(path, LoadRequest("keras.Sequential"))

        return forge

    def test_the_forger_forges_nothing_if_nothing_is_changed(self, forge):
        assert forge().count_params() == 19

    @pytest.mark.parametrize(
        ("layer", "said"),
        [
            ({"module": "os", "class_name": "system", "registered_name": None}, r"os\.system"),
            ({"module": "builtins", "class_name": "eval"}, r"builtins\.eval"),
            ({"module": "antigravity", "class_name": "fly"}, r"antigravity\.fly"),
            ({"module": "keras.utils", "class_name": "get_file"}, r"keras\.utils\.get_file"),
            ({"module": "keras.config", "class_name": "enable_unsafe_deserialization"}, "enable_unsafe"),
            ({"module": "keras.src.saving.serialization_lib", "class_name": "x"}, "serialization_lib"),
            ({"module": "kerasevil.layers", "class_name": "Dense"}, "kerasevil"),
            ({"class_name": "Lambda", "config": {"function": {"class_name": "__lambda__", "config": {}}}}, "lambda"),
            ({"class_name": "Lambda", "config": {"function": ["4wEAAA", None, None]}}, "lambda"),
            ({"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}}, "/etc/passwd"),
            ({"module": "os", "class_name": "function", "config": "system"}, r"os\.system"),
        ],
    )
    def test_what_is_not_of_keras_is_refused(self, forge, layer, said):
        with pytest.raises(PickleRefused, match=said):
            forge(lambda found: found.update(layer))
        assert "antigravity" not in __import__("sys").modules

    def test_archives_that_are_none_of_ours(self, forge, tmp_path):
        with pytest.raises(ArtifactCorrupted, match="no part"):
            forge(**{"../../evil": b"x"})
        with pytest.raises(ArtifactCorrupted, match="compressed"):
            forge(compress=zipfile.ZIP_DEFLATED)
        with pytest.raises(ArtifactCorrupted):
            forge(**{"config.json": b"{"})
        with pytest.raises(ArtifactCorrupted, match="HDF5"):
            forge(**{"model.weights.h5": b"no weights"})
        (tmp_path / "no.zip").write_bytes(b"PK\x03\x04")
        with pytest.raises(ArtifactCorrupted):
            materializer_named("keras").load(tmp_path / "no.zip", LoadRequest("keras.Sequential"))

    @pytest.mark.parametrize("kind", ["external link", "soft link", "external dataset", "virtual dataset"])
    def test_weights_that_refer_to_other_files(self, forge, kind, tmp_path):
        h5py = pytest.importorskip("h5py")
        memory = io.BytesIO()
        secret = tmp_path / "secret"
        secret.write_bytes(bytes(80))
        with h5py.File(memory, "w") as file:
            group = file.create_group("layers")
            if kind == "external link":
                group["w"] = h5py.ExternalLink(str(secret), "/")
            elif kind == "soft link":
                group["w"] = h5py.SoftLink("/elsewhere")
            elif kind == "external dataset":
                group.create_dataset("w", (10,), "f8", external=[(str(secret), 0, 80)])
            else:
                layout = h5py.VirtualLayout((10,), "f8")
                layout[:] = h5py.VirtualSource(str(secret), "x", (10,))
                group.create_virtual_dataset("w", layout)
        with pytest.raises(ArtifactCorrupted, match="refer to"):
            forge(**{"model.weights.h5": memory.getvalue()})


class TestOnnx:
    onnx = pytest.importorskip("onnx")

    def _model(self, **options):
        helper, kinds = self.onnx.helper, self.onnx.TensorProto
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            "graph",
            [helper.make_tensor_value_info("x", kinds.FLOAT, ["rows", 2])],
            [helper.make_tensor_value_info("y", kinds.FLOAT, ["rows", 1])],
            [self.onnx.numpy_helper.from_array(np.ones((2, 1), "float32"), "w")],
        )
        return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)], **options)

    def test_a_model_and_the_runtime_reads_its_file(self, store, round_trip):
        runtime = pytest.importorskip("onnxruntime")
        model = self._model()
        assert round_trip(model) == model
        stored = save(model, store)
        path = Artifact.bind({"uri": stored.uri, "digest": stored.digest, "type": stored.type}, store).path()
        (found,) = runtime.InferenceSession(path).run(None, {"x": np.ones((3, 2), "float32")})
        assert found.ravel().tolist() == [2.0, 2.0, 2.0]

    def test_metadata(self, store):
        metadata = save(self._model(producer_name="me"), store).metadata
        assert metadata["inputs"] == {"x": "float[rows, 2]"}
        assert (metadata["operators"], metadata["parameters"], metadata["producer"]) == ({"MatMul": 1}, 2, "me")

    def _with_external_data(self):
        model = self._model()
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = self.onnx.TensorProto.EXTERNAL
        for key, value in {"location": "../../../../etc/passwd", "offset": "0", "length": "8"}.items():
            tensor.external_data.add(key=key, value=value)
        return model

    def test_files_beside_it_are_refused_both_ways(self, store):
        model = self._with_external_data()
        with pytest.raises(MaterializerNotFound, match="in a file beside it"):
            save(model, store)
        data = memoryview(model.SerializeToString())
        with pytest.raises(ArtifactCorrupted, match="outside of it"):
            materializer_named("onnx").read(data, LoadRequest("onnx.ModelProto"))

    @pytest.mark.parametrize("data", [b"", b"\x80\x05.", b"\xff" * 40, b"\x08\x09"])
    def test_what_is_no_model_is_refused(self, data):
        with pytest.raises(ArtifactCorrupted):
            materializer_named("onnx").read(memoryview(data), LoadRequest("onnx.ModelProto"))
