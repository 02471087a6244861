"""Gradient boosting in the libraries' own formats: XGBoost as UBJSON, LightGBM as text. No pickle.

A bare ``Booster`` of XGBoost is one file. LightGBM's text forgets which iteration was the best, so that its models are
folders, and so are the estimators with scikit-learn's interface: the native model, which any tool of that library
reads, beside a JSON file with parameters and what fitting left. Parameters must be plain data: an own objective
function is code, and code is stored by pickle only. The classes created are those of the two libraries.
"""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ...errors import ArtifactCorrupted, MaterializerNotFound
from .base import BufferMaterializer, LoadRequest, Materializer, require_library
from .plain import decode, dumps, encode, preview

if TYPE_CHECKING:
    from pathlib import Path

    from ..digests import HashingFile

_FACTS = "estimator.json"
_IMPORTANT = 20


class XgboostMaterializer(BufferMaterializer):
    """``xgboost.Booster``."""

    name = "xgboost"
    extension = ".ubj"

    def write(self, value: Any, file: HashingFile) -> None:
        file.write(value.save_raw("ubj"))

    def read(self, data: memoryview, request: LoadRequest) -> Any:
        return _load_xgboost(require_library("xgboost", "an XGBoost model").Booster(), bytes(data))

    def describe(self, value: Any) -> dict[str, Any]:
        return _describe_xgboost(value)


class XgboostEstimatorMaterializer(Materializer):
    """``xgboost.XGBClassifier``, ``XGBRegressor``, ``XGBRanker`` and the random forests, fitted or not."""

    name = "xgboost.estimator"
    extension = ".xgboost"
    verify_first = True

    def save(self, value: Any, path: Path) -> None:
        facts = {"class": _class_name(value, "xgboost"), "parameters": _plain(value.get_params(deep=False), value)}
        if hasattr(value, "evals_result_"):
            facts["evaluations"] = _plain(value.evals_result_, value)
        path.mkdir()
        if value.__sklearn_is_fitted__():
            (path / "model.ubj").write_bytes(value.get_booster().save_raw("ubj"))
        (path / _FACTS).write_bytes(dumps(facts))

    def load(self, path: Path, request: LoadRequest) -> Any:
        facts = _read_facts(path)
        model = _create(facts, "xgboost", "XGBModel")
        if (path / "model.ubj").is_file():
            _load_xgboost(model, (path / "model.ubj").read_bytes())
            for name in model.get_params(deep=False).keys() & vars(model).keys() & facts["parameters"].keys():
                setattr(model, name, facts["parameters"][name])  # loading has set some to what the booster made of them
        if "evaluations" in facts:
            model.evals_result_ = facts["evaluations"]
        return model

    def describe(self, value: Any) -> dict[str, Any]:
        facts = _describe_xgboost(value.get_booster()) if value.__sklearn_is_fitted__() else {}
        return {**facts, "parameters": _given(value)}


class LightgbmMaterializer(Materializer):
    """``lightgbm.Booster``."""

    name = "lightgbm"
    extension = ".lightgbm"
    verify_first = True

    def save(self, value: Any, path: Path) -> None:
        path.mkdir()
        _save_lightgbm(value, path)

    def load(self, path: Path, request: LoadRequest) -> Any:
        return _load_lightgbm(path)

    def describe(self, value: Any) -> dict[str, Any]:
        return _describe_lightgbm(value)


class LightgbmEstimatorMaterializer(Materializer):
    """``lightgbm.LGBMClassifier``, ``LGBMRegressor``, ``LGBMRanker``, fitted or not."""

    name = "lightgbm.estimator"
    extension = ".lgbm"
    verify_first = True
    _rebuilt = ("_Booster", "_le", "_class_map", "_other_params")

    def save(self, value: Any, path: Path) -> None:
        parameters = value.get_params(deep=False)
        left = {k: v for k, v in vars(value).items() if k not in parameters and k not in self._rebuilt}
        facts = {
            "class": _class_name(value, "lightgbm"),
            "parameters": _plain(parameters, value),
            "fitted": _plain(left, value),
        }
        path.mkdir()
        if value.__sklearn_is_fitted__():
            _save_lightgbm(value.booster_, path)
        (path / _FACTS).write_bytes(dumps(facts))

    def load(self, path: Path, request: LoadRequest) -> Any:
        facts = _read_facts(path)
        model = _create(facts, "lightgbm", "LGBMModel")
        for name, item in facts["fitted"].items():
            if not (name.startswith("_") or name.endswith("_")) or name.startswith("__") or hasattr(type(model), name):
                raise ArtifactCorrupted(f"An estimator of LightGBM keeps nothing under the name {name!r}.")
            setattr(model, name, item)
        if (path / "model.txt").is_file():
            model._Booster = _load_lightgbm(path)
        classes = facts["fitted"].get("_classes")
        if classes is not None:
            from sklearn.preprocessing import LabelEncoder

            model._le = LabelEncoder()
            model._le.classes_ = classes
            model._class_map = dict(zip(classes, model._le.transform(classes), strict=True))
        return model

    def describe(self, value: Any) -> dict[str, Any]:
        facts = _describe_lightgbm(value.booster_) if value.__sklearn_is_fitted__() else {}
        return {**facts, "parameters": _given(value)}


def _class_name(value: Any, library: str) -> str:
    cls = type(value)
    if getattr(import_module(library), cls.__name__, None) is not cls:
        raise MaterializerNotFound(
            f"{cls.__module__}.{cls.__qualname__} is not a class of {library}, so that it could not be created again.",
            hint="Return its booster (get_booster() or booster_), or allow pickle for this step: @step(pickle=True)",
        )
    return str(cls.__name__)


def _create(facts: dict[str, Any], library: str, base: str) -> Any:
    module = require_library(library, f"a model of {library}")
    cls = getattr(module, str(facts["class"]), None)
    if not (isinstance(cls, type) and issubclass(cls, getattr(module, base))):
        raise ArtifactCorrupted(f"{library} has no estimator {facts['class']!r}.")
    try:
        return cls(**facts["parameters"])
    except TypeError as error:
        raise ArtifactCorrupted(f"{library}.{cls.__name__} does not take what was stored: {error}.") from error


def _plain(values: dict[str, Any], owner: Any) -> Any:
    """Facts of an estimator as JSON. Raises ``MaterializerNotFound`` for code among them."""

    def other(part: Any, where: str) -> Any:
        if isinstance(part, dict):  # OrderedDict, defaultdict
            return encode(dict(part), other, where)
        if type(part).__module__ == "numpy" and getattr(part, "dtype", None) is not None and part.dtype.kind in "biufU":
            return {"$array": [part.dtype.str, part.tolist()]}
        kind = type(owner)
        raise MaterializerNotFound(
            f"A {kind.__module__}.{kind.__qualname__} cannot be stored without running code when it is loaded: "
            f"{where} is a {type(part).__module__}.{type(part).__qualname__}.",
            hint="Use plain parameters, return the booster alone, or allow pickle for this step: @step(pickle=True)",
        )

    return encode(values, other, type(owner).__name__)


def _read_facts(path: Path) -> dict[str, Any]:
    def array(data: dict[str, Any]) -> Any:
        import numpy as np

        kind, items = data["$array"]
        return np.array(items, dtype=np.dtype(str(kind)))

    try:
        found = decode(json.loads((path / _FACTS).read_bytes()), array)
        if not isinstance(found["parameters"], dict) or not isinstance(found.get("fitted", {}), dict):
            raise TypeError("parameters are named values")
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ArtifactCorrupted(f"The stored estimator cannot be read: {error}.") from error
    facts: dict[str, Any] = found
    return facts


def _load_xgboost(model: Any, data: bytes) -> Any:
    if not data.startswith(b"{"):  # what is not UBJSON would be taken for the format of old versions
        raise ArtifactCorrupted("The artifact is not an XGBoost model: it is not UBJSON.")
    from xgboost.core import XGBoostError

    try:
        model.load_model(bytearray(data))
    except (XGBoostError, ValueError, KeyError) as error:
        raise ArtifactCorrupted(f"XGBoost cannot read the stored model: {_first_line(error)}") from error
    return model


def _save_lightgbm(booster: Any, path: Path) -> None:
    (path / "model.txt").write_text(booster.model_to_string(num_iteration=-1), encoding="utf-8")
    facts = {"best_iteration": booster.best_iteration, "best_score": _plain(booster.best_score, booster)}
    (path / "booster.json").write_bytes(dumps(facts))


def _load_lightgbm(path: Path) -> Any:
    lightgbm = require_library("lightgbm", "a LightGBM model")
    try:
        facts = decode(json.loads((path / "booster.json").read_bytes()))
        text = (path / "model.txt").read_text(encoding="utf-8")
        if not text.startswith("tree\n") or "\nend of trees\n" not in text:
            raise ValueError("model.txt is not a model, or not all of it")
        booster = lightgbm.Booster(model_str=text)
        booster.best_iteration, booster.best_score = int(facts["best_iteration"]), facts["best_score"]
    except (ValueError, KeyError, TypeError, OSError, lightgbm.basic.LightGBMError) as error:
        raise ArtifactCorrupted(f"LightGBM cannot read the stored model: {_first_line(error)}") from error
    return booster


def _describe_xgboost(booster: Any) -> dict[str, Any]:
    import xgboost

    gains = {name: float(gain) for name, gain in booster.get_score(importance_type="gain").items()}
    facts = {"library": f"xgboost {xgboost.__version__}", "rounds": booster.num_boosted_rounds()}
    return {**facts, **_features(booster.feature_names, booster.num_features(), gains)}


def _describe_lightgbm(booster: Any) -> dict[str, Any]:
    import lightgbm

    names = booster.feature_name()
    gains = dict(zip(names, booster.feature_importance("gain").tolist(), strict=True))
    facts = {"library": f"lightgbm {lightgbm.__version__}", "trees": booster.num_trees()}
    return {**facts, **_features(names, booster.num_feature(), gains)}


def _features(names: Any, count: int, gains: dict[str, float]) -> dict[str, Any]:
    best = sorted(gains.items(), key=lambda item: -item[1])[:_IMPORTANT]
    facts: dict[str, Any] = {"n_features": count, "importance": preview(dict(best))}
    if names:
        facts["features"] = [str(name) for name in names[:1000]]
    return facts


def _given(value: Any) -> Any:
    return preview({name: item for name, item in value.get_params(deep=False).items() if item is not None}, depth=1)


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line]
    return lines[0] if lines else type(error).__name__
