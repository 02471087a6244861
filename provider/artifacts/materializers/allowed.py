"""What a stored object may refer to, create and call: the allow-list behind the ``objects`` format.

A pickle is a program whose only power is the objects it can name and call. Here it can name little and call less:

- **refer** to classes and pure functions of numpy, scipy and scikit-learn that estimators hold as parameters
  (``f_classif``, ``np.mean``, ``np.float64``), without being able to call them;
- **create** instances of scikit-learn's estimators and of the plain-data classes inside them, empty, then fill them;
- **call** the restoring functions of :mod:`.restore`, and constructors of harmless values.

It cannot name a module, reach an attribute (no dotted names, no ``getattr``), call a method or an instance, or change
a class or a function. Third-party classes are outside, until somebody who knows them says :func:`trust`.

What it does not promise: that a forged array of a k-d tree is sane memory. The digest in the metadata database,
verified before anything is interpreted, is what keeps forged files away.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from types import BuiltinFunctionType, FunctionType
from typing import Any, NamedTuple, TypeVar

from . import restore

C = TypeVar("C")

GROUP = "windsock.trusted"


class Permission(NamedTuple):
    """The object of that name, and what may be done with it beside referring to it."""

    value: Any
    create: bool = False
    call: bool = False


_RESTORERS = frozenset(
    [
        "ndarray",
        "object_array",
        "masked",
        "scalar",
        "dtype",
        "ufunc",
        "random_state",
        "generator",
        "bit_generator",
        "seed_sequence",
        "tree",
        "distribution",
        "frame",
        "keys",
    ]
)

_CALL = {
    "builtins": {"slice", "range", "complex", "set", "frozenset", "bytearray"},
    "collections": {"OrderedDict", "defaultdict", "deque", "Counter"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "functools": {"partial"},
    "pathlib": {"PosixPath", "PurePosixPath", "Path"},
    "pathlib._local": {"PosixPath", "PurePosixPath", "Path"},
    "uuid": {"UUID"},
    "sklearn.metrics._dist_metrics": {"newObj"},
    "sklearn.neighbors._ball_tree": {"newObj"},
    "sklearn.neighbors._kd_tree": {"newObj"},
    "sklearn.neighbors._quad_tree": {"_QuadTree"},
}
"""Constructors without side effects."""

_REFER = {
    "builtins": {"bool", "bytes", "dict", "float", "int", "list", "object", "str", "tuple"},
    "numpy": {
        "mean",
        "median",
        "average",
        "sum",
        "prod",
        "min",
        "max",
        "amin",
        "amax",
        "std",
        "var",
        "ptp",
        "nanmean",
        "nanmedian",
        "nansum",
        "nanmin",
        "nanmax",
        "nanstd",
        "asarray",
        "array",
        "ravel",
        "sort",
        "unique",
        "cumsum",
        "diff",
        "clip",
        "round",
        "around",
        "nan_to_num",
        "ndarray",
        "dtype",
    },
    "scipy._lib.array_api_compat.numpy._aliases": {"asarray"},
    "scipy._external.array_api_compat.numpy._aliases": {"asarray"},
    "sklearn.cluster._kmeans": {"_kmeans_single_lloyd", "_kmeans_single_elkan"},
    "sklearn.feature_selection._mutual_info": {"mutual_info_classif", "mutual_info_regression"},
    "sklearn.feature_selection._univariate_selection": {
        "chi2",
        "f_classif",
        "f_oneway",
        "f_regression",
        "r_regression",
    },
    "sklearn.utils.extmath": {"safe_sparse_dot", "softmax", "weighted_mode"},
    "sklearn.utils.validation": {"check_array"},
}
"""Pure functions and types that are held as parameters, and never called from here."""

_SCIPY_CREATE = {
    "scipy.interpolate": {"BSpline", "PPoly", "CubicSpline", "PchipInterpolator"},
    "scipy.sparse": {
        f"{form}_{kind}" for form in ("bsr", "coo", "csc", "csr", "dia", "lil") for kind in ("matrix", "array")
    },
}
"""Public names; the private module that a pickle names must define that very class."""

_SCIPY_PRIVATE = {"scipy.interpolate._bsplines": {"_BSpline"}}
"""What a public class keeps its arrays in (``BSpline`` since SciPy 1.18)."""

_DATA_MODULES = frozenset(
    f"sklearn.{name}"
    for name in [
        "_loss._loss",
        "_loss.link",
        "_loss.loss",
        "calibration",
        "cluster._birch",
        "cluster._bisect_k_means",
        "ensemble._hist_gradient_boosting.predictor",
        "ensemble._hist_gradient_boosting.binning",
        "gaussian_process.kernels",
        "linear_model._sgd_fast",
        "metrics._dist_metrics",
        "metrics._scorer",
        "model_selection._split",
        "model_selection._search",
        "neighbors._ball_tree",
        "neighbors._kd_tree",
        "neural_network._stochastic_optimizers",
        "compose._column_transformer",
        "utils._bunch",
        "utils._metadata_requests",
    ]
)
"""Modules of scikit-learn whose classes are data beside the estimators: losses, kernels, splitters, scorers, trees."""

_CALL_CLASSES_OF = frozenset({"sklearn._loss._loss", "sklearn.linear_model._sgd_fast", "sklearn._loss.link"})
"""Cython classes that are rebuilt by calling them with numbers."""

_SKLEARN = re.compile(r"sklearn(\.\w+)+")
_NEVER = {"tests", "externals", "datasets", "_testing", "conftest", "parallel", "_joblib", "_mocking", "_build_utils"}

_trusted: set[str] = set()


def trust(*targets: C) -> C:
    """Let stored objects use classes and functions of your own: ``trust("acme.features")``, or ``@trust`` on a class.

    Their code then runs when an artifact that holds them is loaded. A target is a class, a function, a module's name
    (with what is below it) or ``"module:name"``. It holds for this process; for all processes that have your package
    installed, declare an entry point of the group ``windsock.trusted``: ``acme = "acme.features"``.
    Returns its first target, so that it decorates.
    """
    for target in targets:
        name = target if isinstance(target, str) else f"{_module_of(target)}:{_name_of(target)}"
        _trusted.add(name)
    return targets[0]


def permission(module: str, name: str, trusted: tuple[str, ...] = ()) -> Permission | None:
    """What a stored object may do with ``module.name``; None if it may not even refer to it."""
    found = _builtin(module, name)
    if found is not None:
        return found
    if _is_trusted(module, name, trusted):
        value = getattr(import_module(module), name, None) if "." not in name else None
        if isinstance(value, (type, FunctionType, BuiltinFunctionType)):
            return Permission(value, create=isinstance(value, type), call=True)
    return None


def _is_trusted(module: str, name: str, more: tuple[str, ...]) -> bool:
    return any(
        f"{module}:{name}" == entry or f"{module}.".startswith(f"{entry}.")
        for entry in (*_trusted, *more, *_trusted_by_entry_point())
    )


@cache
def _trusted_by_entry_point() -> tuple[str, ...]:
    return tuple(point.value for point in entry_points(group=GROUP))


@cache
def _builtin(module: str, name: str) -> Permission | None:  # noqa: PLR0911 - a case a package
    if "." in name or not isinstance(name, str):
        return None
    if module == restore.__name__:
        return Permission(getattr(restore, name), call=True) if name in _RESTORERS else None
    if name in _CALL.get(module, ()):
        value = getattr(import_module(module), name)
        return Permission(value, create=isinstance(value, type), call=True)
    if name in _REFER.get(module, ()):
        return Permission(getattr(import_module(module), name))
    if module == "numpy":
        return _numpy_scalar_type(name)
    if module.startswith("scipy."):
        return _scipy_class(module, name)
    if _SKLEARN.fullmatch(module) and not _NEVER & set(module.split(".")):
        return _sklearn(module, name)
    return None


def _numpy_scalar_type(name: str) -> Permission | None:
    import numpy as np

    value = vars(np).get(name)
    return Permission(value) if isinstance(value, type) and issubclass(value, np.generic) else None


def _scipy_class(module: str, name: str) -> Permission | None:
    for public, names in _SCIPY_CREATE.items():
        if name in names and module.startswith(f"{public}."):
            value = getattr(import_module(public), name)
            if value.__module__ == module:
                return Permission(value, create=True)
    if name in _SCIPY_PRIVATE.get(module, ()):
        value = vars(import_module(module)).get(name)
        return Permission(value, create=True) if isinstance(value, type) else None
    return None


def _sklearn(module: str, name: str) -> Permission | None:
    from sklearn.base import BaseEstimator

    try:
        value = vars(import_module(module)).get(name)
    except ImportError:
        return None
    if isinstance(value, type):
        if value.__module__ != module or not (issubclass(value, BaseEstimator) or module in _DATA_MODULES):
            return None
        return Permission(value, create=True, call=module in _CALL_CLASSES_OF)
    if module.startswith("sklearn.metrics.") and _is_metric(name, value):
        return Permission(value)
    return None


def _is_metric(name: str, value: Any) -> bool:
    """A public function of ``sklearn.metrics``, which scorers hold, or a kernel or distance of its ``pairwise``."""
    from sklearn import metrics
    from sklearn.metrics import pairwise

    return isinstance(value, FunctionType) and any(vars(m).get(name) is value for m in (metrics, pairwise))


def _module_of(target: Any) -> str:
    return str(getattr(target, "__module__", None))


def _name_of(target: Any) -> str:
    return str(getattr(target, "__qualname__", None) or getattr(target, "__name__", ""))
