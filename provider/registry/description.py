"""What a model says about itself: its parameters and the packages that it needs, as JSON."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_DISTRIBUTIONS = {"cv2": "opencv-python", "PIL": "pillow", "sklearn": "scikit-learn", "skl2onnx": "skl2onnx"}
"""Where the name to install differs from the name to import."""

_LONGEST = 500


def parameters_of(model: Any) -> dict[str, Any]:
    """``get_params()`` in JSON, nested estimators' included (``svc__C``); empty for a model without it.

    A value that is no JSON becomes text: an estimator its class's name, anything else its ``repr``, cut.
    """
    if not hasattr(model, "get_params") or isinstance(model, type):
        return {}
    return {str(name): _json(value) for name, value in sorted(model.get_params(deep=True).items())}


def requirements_of(model: Any) -> dict[str, str]:
    """Distribution -> version of the packages that the classes of a model come from, and ``python``.

    Top-level packages only, not what they depend on: enough to see why a model no longer loads, no lock file. The
    user's own modules, which are not installed distributions, are left out.
    """
    found = {"python": platform.python_version()}
    for package in sorted({module.partition(".")[0] for part in _parts(model) for module in _modules(part)}):
        name = _DISTRIBUTIONS.get(package, package)
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _parts(model: Any) -> Iterator[Any]:
    yield model
    if hasattr(model, "get_params") and not isinstance(model, type):
        for value in model.get_params(deep=True).values():
            if hasattr(value, "fit"):
                yield value


def _modules(part: Any) -> Iterator[str]:
    for cls in type(part).__mro__:
        yield cls.__module__


def _json(value: Any) -> Any:
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()  # a numpy scalar
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Mapping):
        return {str(k): _json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    return _text(value)


def _text(value: Any) -> str:
    if hasattr(value, "fit") and not isinstance(value, type):
        value = type(value)
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    text = repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
