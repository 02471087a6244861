"""What a step's signature says, as far as it can be known.

Steps annotate with names that exist only for the type checker (``if TYPE_CHECKING: import pandas as pd``), so an
annotation is looked up in the module's globals, and then in what its import statements say, in modules that are
already loaded. One that cannot be resolved is :data:`UNKNOWN`: never an error, and no check is made.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import numbers
import sys
import types
import typing
from functools import lru_cache
from importlib import import_module
from typing import Annotated, Any, Union, get_args, get_origin

from .modules import imports_of

if typing.TYPE_CHECKING:
    from collections.abc import Callable


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Any = _Unknown()
"""An annotation that is missing or cannot be resolved."""

UNIONS: tuple[Any, ...] = (Union, types.UnionType)
_NUMBERS: dict[type, type] = {int: numbers.Integral, float: numbers.Real, complex: numbers.Complex}


class _Names(dict[str, Any]):
    """The names that an annotation may use. ``load``: import a module that is not loaded yet."""

    def __init__(self, function: Callable[..., Any], *, load: bool) -> None:
        super().__init__()
        self._globals = getattr(function, "__globals__", None) or vars(sys.modules.get(function.__module__, builtins))
        self._module = function.__module__
        self._load = load

    def __missing__(self, name: str) -> Any:
        for names in (self._globals, vars(builtins)):  # looked up, not copied: a module has hundreds of names
            if name in names:
                return names[name]
        for module, attribute in imports_of(self._module, name):
            try:
                found = sys.modules.get(module) or (import_module(module) if self._load else None)
            except ImportError:
                continue
            if found is not None:
                return found if attribute is None else getattr(found, attribute)
        raise NameError(name)


def resolve(function: Callable[..., Any], annotation: Any, *, load: bool = False) -> Any:
    """The type that an annotation means, or :data:`UNKNOWN`."""
    if annotation is inspect.Signature.empty:
        return UNKNOWN
    if annotation is None:
        return type(None)
    if not isinstance(annotation, str):
        return annotation
    if annotation in _BUILTIN:
        return _BUILTIN[annotation]
    try:
        return eval(annotation, {"__builtins__": {}}, _Names(function, load=load))  # noqa: S307 - the step's own source
    except Exception:  # noqa: BLE001 - an annotation may be anything
        return UNKNOWN


def columns(function: Callable[..., Any], annotation: Any) -> tuple[Any, tuple[str, ...] | None]:
    """The type that an annotation means, and the columns that it picks: ``Annotated[…, Columns("age")]``."""
    text = isinstance(annotation, str)
    if text and "Columns(" not in annotation:
        return resolve(function, annotation), None
    found = resolve(function, annotation, load=text)
    if get_origin(found) is not Annotated:
        return found, None
    from ..artifacts.handle import Columns

    return get_args(found)[0], next((mark for mark in found.__metadata__ if isinstance(mark, Columns)), None)


_BUILTIN: dict[str, Any] = {
    "None": type(None),
    **{t.__name__: t for t in (bool, bytes, dict, float, int, list, object, set, str, tuple)},
}


@lru_cache(maxsize=1024)
def signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


def wants_handle(function: Callable[..., Any], annotation: Any) -> bool:
    """Is the parameter annotated ``Artifact``, ``Artifact[…]``, or a list or an optional of it?"""
    if annotation is inspect.Signature.empty:
        return False
    if not isinstance(annotation, str):
        return _mentions_handle(annotation)
    if "Artifact" not in annotation:
        return False
    resolved = resolve(function, annotation)
    if resolved is not UNKNOWN:
        return _mentions_handle(resolved)
    try:
        tree = ast.parse(annotation, mode="eval").body
    except SyntaxError:
        return False
    return any(_names_handle(function, node) for node in _alternatives(tree))


def _mentions_handle(annotation: Any) -> bool:
    from ..artifacts.handle import Artifact

    if get_origin(annotation) in (*UNIONS, list):
        return any(_mentions_handle(part) for part in get_args(annotation))
    return annotation is Artifact or get_origin(annotation) is Artifact


def _alternatives(node: ast.expr) -> list[ast.expr]:
    """The members of ``a | b``, ``Optional[a]``, ``list[a]``."""
    if isinstance(node, ast.BinOp):
        return [*_alternatives(node.left), *_alternatives(node.right)]
    if isinstance(node, ast.Subscript) and ast.unparse(node.value).rpartition(".")[2] in {"Optional", "Union", "list"}:
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return [part for element in inner for part in _alternatives(element)]
    return [node]


def _names_handle(function: Callable[..., Any], node: ast.expr) -> bool:
    """Its parameter cannot be resolved (``Artifact[pd.DataFrame]``), but the name says where it is from."""
    target = node.value if isinstance(node, ast.Subscript) else node
    return _mentions_handle(resolve(function, ast.unparse(target), load=False)) or any(
        module.partition(".")[0] == __name__.partition(".")[0]
        for module, attribute in imports_of(function.__module__, ast.unparse(target).partition(".")[0])
        if attribute in {"Artifact", None}
    )


def fits(value: Any, expected: Any) -> bool:
    """Is ``value`` of that type? Containers are not looked into. What cannot be checked fits."""
    if expected in (UNKNOWN, Any, object):
        return True
    origin = get_origin(expected)
    if origin is typing.Annotated:
        return fits(value, get_args(expected)[0])
    if origin in UNIONS:
        return any(fits(value, part) for part in get_args(expected))
    kind = origin or expected
    if not isinstance(kind, type):
        return True  # TypeVar, NewType, Literal, ParamSpec…
    try:
        return isinstance(value, _NUMBERS.get(kind, kind))
    except TypeError:  # a Protocol that is not for run time, a TypedDict
        return True


def type_name(expected: Any) -> str:
    return expected.__qualname__ if isinstance(expected, type) and not get_args(expected) else str(expected)
