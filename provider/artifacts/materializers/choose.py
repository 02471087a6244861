"""Which materializer stores a value, and which one loads an artifact.

By the *names* of the value's classes, from the most special to the most general, so that no library is imported to
find out: a pandas DataFrame cannot exist before pandas is imported, and the choice never depends on what happens to
be imported. First what was registered here, then built-ins, then entry points of the group ``windsock.materializer``.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from ...errors import MaterializerNotFound, did_you_mean
from .base import LoadRequest, Materializer

GROUP = "windsock.materializer"

_CLASSES = {
    "json": ".plain:JsonMaterializer",
    "text": ".plain:TextMaterializer",
    "bytes": ".plain:BytesMaterializer",
    "path": ".paths:PathMaterializer",
    "object_path": ".object_paths:ObjectPathMaterializer",
    "numpy": ".arrays:ArrayMaterializer",
    "numpy.objects": ".arrays:ObjectArrayMaterializer",
    "arrow": ".arrow:ArrowMaterializer",
    "pandas": ".arrow:PandasMaterializer",
    "polars": ".arrow:PolarsMaterializer",
    "objects": ".objects:ObjectMaterializer",
    "figure": ".figures:FigureMaterializer",
    "image": ".images:ImageMaterializer",
    "polars.lazy": ".streams:LazyFrameMaterializer",
    "arrow.dataset": ".streams:DatasetMaterializer",
    "arrow.reader": ".streams:ReaderMaterializer",
    "dask": ".partitioned:DaskMaterializer",
    "spark": ".partitioned:SparkMaterializer",
    "xgboost": ".boosters:XgboostMaterializer",
    "xgboost.estimator": ".boosters:XgboostEstimatorMaterializer",
    "lightgbm": ".boosters:LightgbmMaterializer",
    "lightgbm.estimator": ".boosters:LightgbmEstimatorMaterializer",
    "tensors": ".tensors:TensorMaterializer",
    "torch.module": ".tensors:ModuleMaterializer",
    "keras": ".keras_models:KerasMaterializer",
    "tensorflow": ".keras_models:TensorflowMaterializer",
    "onnx": ".onnx_models:OnnxMaterializer",
    "pretrained": ".pretrained:PretrainedMaterializer",
    "dataclass": ".records:DataclassMaterializer",
    "pydantic": ".records:ModelMaterializer",
    "composite": ".composite:CompositeMaterializer",
    "dataset": "windsock.provider.datasets.materializer:DatasetMaterializer",
    "pickle": ".pickles:PickleMaterializer",
}

_EXACT = {
    **dict.fromkeys(("builtins.int", "builtins.float", "builtins.bool", "builtins.NoneType"), "json"),
    **dict.fromkeys(("builtins.dict", "builtins.list", "builtins.tuple", "builtins.set", "builtins.frozenset"), "json"),
    **dict.fromkeys(("builtins.complex", "decimal.Decimal", "uuid.UUID"), "json"),
    **dict.fromkeys(("datetime.datetime", "datetime.date", "datetime.time", "datetime.timedelta"), "json"),
    "builtins.str": "text",
    **dict.fromkeys(("builtins.bytes", "builtins.bytearray", "builtins.memoryview"), "bytes"),
    **dict.fromkeys(("numpy.ndarray", "numpy.memmap"), "numpy"),
    **dict.fromkeys(("numpy.ma.MaskedArray", "numpy.matrix", "numpy.rec.recarray"), "objects"),
    **dict.fromkeys(("pandas.DataFrame", "pandas.Series"), "pandas"),
    **dict.fromkeys(("polars.DataFrame", "polars.Series"), "polars"),
    "polars.LazyFrame": "polars.lazy",
    **dict.fromkeys(("pyarrow.lib.Table", "pyarrow.lib.RecordBatch"), "arrow"),
    "pyarrow.lib.RecordBatchReader": "arrow.reader",
    "dask.dataframe.DataFrame": "dask",
    **dict.fromkeys(("torch.Tensor", "collections.OrderedDict"), "tensors"),
    "windsock.DatasetVersion": "dataset",
    "airflow.sdk.ObjectStoragePath": "object_path",
    "xgboost.core.Booster": "xgboost",
    "lightgbm.basic.Booster": "lightgbm",
    "onnx.ModelProto": "onnx",
}
"""By the value's own class: a subclass would come back as its base, so it is not taken."""

_FAMILIES = {
    "numpy.generic": "numpy",
    "pandas.Index": "pandas",
    "pathlib.Path": "path",
    "sklearn.base.BaseEstimator": "objects",
    "scipy.sparse._base._spbase": "objects",
    "matplotlib.figure.Figure": "figure",
    "pydantic.main.BaseModel": "pydantic",
    "PIL.Image.Image": "image",
    "pyarrow._dataset.Dataset": "arrow.dataset",
    "pyspark.sql.dataframe.DataFrame": "spark",
    "xgboost.sklearn.XGBModel": "xgboost.estimator",
    "lightgbm.sklearn.LGBMModel": "lightgbm.estimator",
    "torch.nn.modules.module.Module": "torch.module",
    "keras.src.models.model.Model": "keras",
    "tensorflow.python.framework.ops.EagerTensor": "tensorflow",
}
"""By any of its base classes: these materializers keep the subclass, or the difference does not matter."""

_ALIASES = {
    "pandas.core.frame.DataFrame": "pandas.DataFrame",
    "pandas.core.series.Series": "pandas.Series",
    "pandas.core.indexes.base.Index": "pandas.Index",
    "polars.dataframe.frame.DataFrame": "polars.DataFrame",
    "polars.series.series.Series": "polars.Series",
    "polars.lazyframe.frame.LazyFrame": "polars.LazyFrame",
    "dask.dataframe.dask_expr._collection.DataFrame": "dask.dataframe.DataFrame",
    "dask_expr._collection.DataFrame": "dask.dataframe.DataFrame",
    "onnx.onnx_ml_pb2.ModelProto": "onnx.ModelProto",
    "pathlib._local.Path": "pathlib.Path",
    "airflow.sdk.io.path.ObjectStoragePath": "airflow.sdk.ObjectStoragePath",
    "numpy.ma.core.MaskedArray": "numpy.ma.MaskedArray",
    "numpy.matrixlib.defmatrix.matrix": "numpy.matrix",
    "numpy.core.records.recarray": "numpy.rec.recarray",
    "numpy._core.records.recarray": "numpy.rec.recarray",
}
"""The defining module, in versions that do not set the public one."""

_ENDINGS = {
    ".objectpath.json": "object_path",
    ".array.json": "numpy.objects",
    ".dataclass.json": "dataclass",
    ".pydantic.json": "pydantic",
    ".composite": "composite",
    ".dataset.json": "dataset",
    ".pretrained": "pretrained",
    ".safetensors": "tensors",
    ".dask.parquet": "dask",
    ".spark.parquet": "spark",
    ".dataset.arrow": "arrow.dataset",
    ".reader.arrow": "arrow.reader",
    ".lazy.arrow": "polars.lazy",
    ".tensor.npy": "tensorflow",
    ".module.pt": "torch.module",
    ".image.png": "image",
    ".image.tif": "image",
    ".lightgbm": "lightgbm",
    ".xgboost": "xgboost.estimator",
    ".lgbm": "lightgbm.estimator",
    ".keras": "keras",
    ".onnx": "onnx",
    ".ubj": "xgboost",
    ".figure": "figure",
    ".objects": "objects",
    ".pickle": "pickle",
    ".arrow": "arrow",
    ".json": "json",
    ".npy": "numpy",
    ".txt": "text",
    ".bin": "bytes",
}
"""Endings of built-in formats, longest first. A test holds them against the classes."""

_OURS = frozenset(
    (
        *("builtins", "collections", "datetime", "decimal", "pathlib", "uuid"),
        *("dask", "numpy", "pandas", "polars", "pyarrow", "pyspark", "PIL"),
        *("keras", "lightgbm", "onnx", "scipy", "sklearn", "tensorflow", "torch", "xgboost"),
    )
)
"""Packages whose types are never looked up among the entry points: reading those costs tens of milliseconds."""

_CONTAINERS = (dict, list, tuple)
_registered: dict[str, type[Materializer]] = {}


def register_materializer(type_: type | str, materializer: type[Materializer]) -> None:
    """Let values of ``type_`` (a class, or its ``module.qualname``) and its subclasses be stored by ``materializer``.

    It goes before the built-in ones, in this process. Use an entry point for all processes.
    """
    name = type_ if isinstance(type_, str) else _qualified(type_)
    _registered[name] = materializer


def materializer_for(value: Any, *, allow_pickle: bool = False, where: str = "value") -> Materializer:
    """The materializer that stores this value. Raises ``MaterializerNotFound``."""
    for cls in type(value).__mro__[:-1]:
        name = _qualified(cls)
        name = _ALIASES.get(name, name)
        if (registered := _registered.get(name)) is not None:
            return registered()
        builtin = _EXACT.get(name) if cls is type(value) else None
        builtin = _FAMILIES.get(name) if builtin is None else builtin
        if builtin is not None:
            return _builtin_for(value, builtin, allow_pickle, where)
        if (plugin := _entry_point(name)) is not None:
            return plugin()
    if hasattr(type(value), "save_pretrained") and hasattr(type(value), "from_pretrained"):
        return materializer_named("pretrained")
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        return materializer_named("dataclass")
    if allow_pickle:
        return materializer_named("pickle")
    raise _unknown(value, where)


def _builtin_for(value: Any, name: str, allow_pickle: bool, where: str) -> Materializer:
    if name == "json" and isinstance(value, _CONTAINERS):
        return _for_container(value, allow_pickle)
    if name == "numpy" and (value.dtype.hasobject or value.dtype.kind == "T"):
        name = "numpy.objects" if value.dtype.kind in "OT" else name
    if name == "torch.module":
        return _for_module(value, allow_pickle, where)
    if name == "tensors" and isinstance(value, dict):
        return _for_ordered(value, allow_pickle, where)
    return materializer_named(name)


def _for_module(value: Any, allow_pickle: bool, where: str) -> Materializer:
    """A PyTorch module with ``save_pretrained`` is a folder; any other can only be pickled as a whole."""
    from .pretrained import is_pretrained
    from .tensors import refuse_module

    if is_pretrained(type(value)):
        return materializer_named("pretrained")
    if allow_pickle:
        return materializer_named("torch.module")
    raise refuse_module(value, where)


def _for_ordered(value: dict[Any, Any], allow_pickle: bool, where: str) -> Materializer:
    """An ``OrderedDict`` is a state dict if there is a tensor in it."""
    if all(type(part).__name__ in ("Tensor", "OrderedDict") for part in value.values()) and "torch" in sys.modules:
        return materializer_named("tensors")
    if allow_pickle:
        return materializer_named("pickle")
    raise _unknown(value, where)


def _for_container(value: Any, allow_pickle: bool) -> Materializer:
    """JSON when all is plain, one file when the rest is tensors, a folder when each item has a materializer.

    Else pickle for the whole when allowed.
    """
    names: set[str] = set()

    def item(part: Any, where: str) -> None:
        names.add(materializer_for(part, where=where).name)

    from .plain import encode

    try:
        encode(value, item)
    except MaterializerNotFound:
        if allow_pickle:
            return materializer_named("pickle")
        raise
    return materializer_named("composite" if names - {"tensors"} else "tensors" if names else "json")


def materializer_of(type_: str, uri: str, recorded: str | None = None) -> Materializer:
    """The materializer that loads an artifact, by what was recorded, its type, its key's ending."""
    if recorded:
        return materializer_named(recorded)
    found = _registered.get(type_) or _entry_point(type_)
    if found is not None:
        return found()
    if type_ == "pathlib.Path":
        return materializer_named("path")
    ending = uri.rpartition("/")[2].removesuffix(".tree")
    for candidate in _registered.values():
        if candidate.extension and ending.endswith(candidate.extension):
            return candidate()
    for extension, name in _ENDINGS.items():
        if ending.endswith(extension):
            top = type_.partition(".")[0]
            return materializer_named(top if name == "arrow" and top in ("pandas", "polars") else name)
    for plugin in _plugins():
        if plugin.extension and ending.endswith(plugin.extension):
            return plugin()
    raise MaterializerNotFound(
        f"No materializer is known here that loads {type_} from {uri}.",
        hint=f"Install the package that defines it (entry point group {GROUP}), or call register_materializer().",
        type=type_,
        uri=uri,
    )


def _plugins() -> list[type[Materializer]]:
    return [found for name in _points() if (found := _entry_point(name)) is not None]


def materializer_named(name: str) -> Materializer:
    """The materializer of that recorded name. Raises ``MaterializerNotFound``."""
    if name in _CLASSES:
        return _import(_CLASSES[name])()
    for other in (*_registered.values(), *_plugins()):
        if other.name == name:
            return other()
    raise MaterializerNotFound(
        f"The artifact was stored by materializer {name!r}, which is not known here.",
        hint=f"Install the package that defines it (entry point group {GROUP}). {did_you_mean(name, _CLASSES)}",
        materializer=name,
    )


@cache
def _import(target: str) -> type[Materializer]:
    module, _, name = target.partition(":")
    found: type[Materializer] = getattr(import_module(module, __package__), name)
    return found


@cache
def _points() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=GROUP)}


@cache
def _entry_point(type_name: str) -> type[Materializer] | None:
    if type_name.partition(".")[0] in _OURS:
        return None
    point = _points().get(type_name)
    if point is None:
        return None
    found: type[Materializer] = point.load()
    return found


def _qualified(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def public_name(cls: type) -> str:
    """``module.qualname`` by the shortest module that offers the class: ``sklearn.ensemble.RandomForestClassifier``."""
    return _public_name(cls)


@cache
def _public_name(cls: Any) -> str:
    full = _qualified(cls)
    if full in ("pathlib.PosixPath", "pathlib._local.PosixPath", "pathlib.WindowsPath", "pathlib._local.WindowsPath"):
        return "pathlib.Path"
    parts, name = cls.__module__.split("."), str(cls.__qualname__)
    for cut in range(1, len(parts)):
        module = sys.modules.get(".".join(parts[:cut]))
        # vars, not getattr: a lazy package would import half of itself to answer
        if module is not None and vars(module).get(name) is cls:
            return f"{module.__name__}.{name}"
    return _ALIASES.get(full, full)


def _unknown(value: Any, where: str) -> MaterializerNotFound:
    name = public_name(type(value))
    place = "The value" if where == "value" else f"{where} of the value"
    base: Any = next(
        (c for c in type(value).__mro__[1:-1] if _ALIASES.get(_qualified(c), _qualified(c)) in _EXACT), None
    )
    known = f"Return it as {public_name(base)}, which it extends" if base else "Return a type that is known (a dict, …)"
    return MaterializerNotFound(
        f"{place} is a {name}, and no materializer knows how to store that.",
        hint=f"{known}; or write a materializer and register_materializer({name}, …); "
        "or allow pickle for this step: @step(pickle=True)",
        type=name,
    )


__all__ = [
    "GROUP",
    "LoadRequest",
    "materializer_for",
    "materializer_named",
    "materializer_of",
    "public_name",
    "register_materializer",
]
