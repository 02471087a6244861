"""Keras models in the ``.keras`` format, read with ``safe_mode``, and TensorFlow's tensors as ``.npy``.

The format is a zip of a configuration and the weights. What Keras writes differs from time to time (a date, memory
addresses), so the archive is packed again without them: the same model gives the same bytes. Before Keras may
interpret an archive it is checked here, because its versions differ in what they refuse: the configuration may name
modelling classes of Keras and registered or trusted ones (:func:`..allowed.trust`), no lambda, no file of this
machine; the weights may refer to nothing outside.
"""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ArtifactCorrupted, MaterializerNotFound, PickleRefused
from .allowed import permission
from .arrays import ArrayMaterializer
from .base import LoadRequest, Materializer, require_library
from .plain import preview

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..digests import HashingFile

_MODULES = re.compile(
    r"(keras|keras_hub|keras_nlp|keras_cv)(\.src)?"
    r"(\.(activations|constraints|dtype_policies|initializers|layers|losses|metrics|models|ops|optimizers|quantizers|"
    r"random|regularizers|tokenizers|backend\.common)(\.[a-z0-9_]+)*)?"
)
"""Where modelling classes are. ``keras.utils`` and ``keras.config`` download files and switch safety off."""
_PLAIN_CLASSES = {"__tensor__", "__tuple__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__typespec__"}
_MEMBERS = re.compile(r"metadata\.json|config\.json|model\.weights\.h5|assets(/[\w.-]+)+")
_WHEN = (1980, 1, 1, 0, 0, 0)
_SHOWN = 50


class KerasMaterializer(Materializer):
    """``keras.Model``: functional, sequential, or a registered class of yours. With optimizer and losses."""

    name = "keras"
    extension = ".keras"
    verify_first = True

    def save(self, value: Any, path: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="windsock-") as folder:
            raw = Path(folder) / "model.keras"
            value.save(raw)
            _pack_again(raw, path)
        try:
            _check(path)
        except PickleRefused as error:
            path.unlink()
            raise MaterializerNotFound(
                f"The Keras model cannot be stored without running code when it is loaded. {error.message}",
                hint="Use a layer class that is registered (keras.saving.register_keras_serializable), "
                "or return model.get_weights().",
            ) from None

    def load(self, path: Path, request: LoadRequest) -> Any:
        keras = require_library("keras", "a Keras model")
        _check(path)
        with tempfile.TemporaryDirectory(prefix="windsock-") as folder:
            named = Path(folder) / "model.keras"  # Keras goes by the ending
            named.symlink_to(path.absolute())
            try:
                return keras.saving.load_model(named, safe_mode=True)
            except (ValueError, TypeError, KeyError, OSError, AttributeError) as error:
                raise ArtifactCorrupted(f"Keras cannot read the stored model: {str(error).splitlines()[0]}") from error

    def describe(self, value: Any) -> dict[str, Any]:
        import keras

        layers = [[each.name, type(each).__name__, each.count_params()] for each in value.layers[:_SHOWN] if each.built]
        facts = {"library": f"keras {keras.__version__}", "backend": keras.backend.backend(), "layers": layers}
        if value.built:
            facts["parameters"] = value.count_params()
        for name in ("input_shape", "output_shape"):
            shape = getattr(value, name, None)
            if shape is not None:
                facts[name] = preview(shape)
        return facts


class TensorflowMaterializer(ArrayMaterializer):
    """``tf.Tensor``, eager: its values. Comes back as a tensor."""

    name = "tensorflow"
    extension = ".tensor.npy"

    def write(self, value: Any, file: HashingFile) -> None:
        array = value.numpy()
        if not hasattr(array, "dtype") or array.dtype.hasobject:
            raise MaterializerNotFound(
                f"A tensor of type {value.dtype.name} is not stored.",
                hint="Return its values as a list or an array: tensor.numpy().tolist()",
            )
        super().write(array, file)

    def read(self, data: memoryview, request: LoadRequest) -> Any:
        tensorflow = require_library("tensorflow", "a TensorFlow tensor")
        return tensorflow.constant(super().read(data, request))

    def describe(self, value: Any) -> dict[str, Any]:
        return super().describe(value.numpy())


def _pack_again(raw: Path, path: Path) -> None:
    """The same archive without date and addresses, uncompressed as Keras writes it."""
    with zipfile.ZipFile(raw) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for name in sorted(source.namelist()):
            if name.endswith("/"):
                continue
            data = source.read(name)
            if name == "metadata.json":
                facts = json.loads(data)
                facts.pop("date_saved", None)
                data = json.dumps(facts).encode()
            elif name == "config.json":
                data = json.dumps(_numbered(json.loads(data), {})).encode()
            target.writestr(zipfile.ZipInfo(name, _WHEN), data)


def _numbered(config: Any, seen: dict[int, int]) -> Any:
    """A configuration whose ``shared_object_id`` (addresses) are numbered as they come."""
    if isinstance(config, list):
        return [_numbered(item, seen) for item in config]
    if not isinstance(config, dict):
        return config
    return {
        key: seen.setdefault(item, len(seen))
        if key == "shared_object_id" and item is not None
        else _numbered(item, seen)
        for key, item in config.items()
    }


def _check(path: Path) -> None:
    """Raise ``ArtifactCorrupted`` or ``PickleRefused`` for an archive that Keras must not interpret."""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not _MEMBERS.fullmatch(member.filename) or ".." in member.filename.split("/"):
                    raise ArtifactCorrupted(f"A stored Keras model has no part {member.filename!r}.")
                if member.compress_type != zipfile.ZIP_STORED:
                    raise ArtifactCorrupted(f"The part {member.filename!r} of the stored Keras model is compressed.")
            config = json.loads(archive.read("config.json"))
            if "model.weights.h5" in archive.namelist():
                with archive.open("model.weights.h5") as weights:
                    _check_weights(weights)
    except (zipfile.BadZipFile, ValueError, KeyError, RecursionError) as error:
        raise ArtifactCorrupted(f"The artifact is not a readable Keras model: {error}.") from error
    for part in _objects(config):
        _check_object(part)


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        for item in config.values():
            yield from _objects(item)
    elif isinstance(config, list):
        for item in config:
            yield from _objects(item)


def _check_object(part: dict[str, Any]) -> None:
    name, module, registered = part["class_name"], part.get("module"), part.get("registered_name")
    inner = part.get("config")
    if name == "__lambda__" or (name == "Lambda" and isinstance(inner, dict) and _is_code(inner.get("function"))):
        raise PickleRefused("It holds a lambda, which is stored as code.")
    if isinstance(inner, dict) and isinstance(inner.get("vocabulary"), str):
        raise PickleRefused(f"Its layer {name} would read the file {inner['vocabulary']!r}.")
    if name in _PLAIN_CLASSES or module is None or (module == "builtins" and name == "function"):
        return
    if _MODULES.fullmatch(str(module)):
        return
    import keras

    target = str(inner) if name == "function" else str(name)
    if registered and keras.saving.get_registered_object(str(registered)) is not None:
        return
    if permission(str(module), target) is not None:  # trusted: importing it registers it
        return
    raise PickleRefused(
        f"It needs {module}.{target}, which is not of Keras.",
        hint="If it is yours, import the module that registers it before loading, or trust it: "
        f'windsock.provider.artifacts.trust("{module}:{target}")',
        needs=f"{module}:{target}",
    )


def _is_code(function: Any) -> bool:
    return not isinstance(function, (str, dict)) or (
        isinstance(function, dict) and function.get("class_name") == "__lambda__"
    )


def _check_weights(file: Any) -> None:
    h5py = require_library("h5py", "a Keras model")

    def visit(group: Any) -> None:
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise ArtifactCorrupted(f"The stored weights refer to something outside of the file at {name!r}.")
            item = group[name]
            if isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise ArtifactCorrupted(f"The stored weights refer to another file at {name!r}.")
            else:
                visit(item)

    try:
        with h5py.File(file, "r") as weights:
            visit(weights)
    except OSError as error:
        raise ArtifactCorrupted(f"The stored weights are not a readable HDF5 file: {error}.") from error
