"""Types as text: what an annotation says, without importing what it names.

A step's module imports pandas under ``TYPE_CHECKING`` only, so that parsing a DAG stays fast. Annotations are therefore
read as text, their names are resolved where that is free (the function's globals, builtins, the customary aliases
``pd``, ``np``, ``pl``, ``pa``), and everything else stays unknown. Two types *mismatch* only when both are known and
neither could be the other; what is unknown fits everywhere, because the step itself will find out.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

TypeTree = tuple[str, tuple[Any, ...]]
"""A name and its arguments. ``("|", …)`` is a union; the arguments of ``Literal`` are values, not trees."""

_ALIASES = {"np": "numpy", "pa": "pyarrow", "pd": "pandas", "pl": "polars"}
_CANONICAL = {
    "Dict": "dict",
    "FrozenSet": "frozenset",
    "List": "list",
    "NoneType": "None",
    "Text": "str",
    "Tuple": "tuple",
    "Type": "type",
    "pandas.core.frame.DataFrame": "pandas.DataFrame",
    "pandas.core.series.Series": "pandas.Series",
    "pathlib._local.Path": "pathlib.Path",
    "polars.dataframe.frame.DataFrame": "polars.DataFrame",
    "polars.lazyframe.frame.LazyFrame": "polars.LazyFrame",
    "polars.series.series.Series": "polars.Series",
    "pyarrow.lib.RecordBatch": "pyarrow.RecordBatch",
    "pyarrow.lib.Table": "pyarrow.Table",
}
_TYPING = ("typing.", "typing_extensions.", "collections.abc.", "builtins.")
_WRAPPERS = {"Annotated", "Artifact", "ClassVar", "Final", "NotRequired", "ReadOnly", "Required"}
_ANYTHING = {"Any", "object"}

_CONTAINERS = {"Collection", "Iterable", "Container", "Sized"}
_SEQUENCE = {"Sequence", "Reversible", *_CONTAINERS}
_SUPERTYPES: dict[str, set[str]] = {
    "None": set(),
    "bool": {"int", "float", "complex", "Hashable"},
    "bytearray": {"bytes", "MutableSequence", *_SEQUENCE},
    "bytes": {"Hashable", *_SEQUENCE},
    "complex": {"Hashable"},
    "datetime.date": {"Hashable"},
    "datetime.datetime": {"datetime.date", "Hashable"},
    "datetime.time": {"Hashable"},
    "datetime.timedelta": {"Hashable"},
    "decimal.Decimal": {"Hashable"},
    "dict": {"Mapping", "MutableMapping", "Reversible", *_CONTAINERS},
    "float": {"complex", "Hashable"},
    "frozenset": {"Set", "AbstractSet", "Hashable", *_CONTAINERS},
    "int": {"float", "complex", "Hashable"},
    "list": {"MutableSequence", *_SEQUENCE},
    "numpy.ndarray": _SEQUENCE,
    "pandas.DataFrame": _CONTAINERS,
    "pandas.Series": _SEQUENCE,
    "pathlib.Path": {"os.PathLike", "PathLike", "pathlib.PurePath", "Hashable"},
    "polars.DataFrame": _CONTAINERS,
    "polars.LazyFrame": set(),
    "polars.Series": _SEQUENCE,
    "pyarrow.RecordBatch": _CONTAINERS,
    "pyarrow.Table": _CONTAINERS,
    "set": {"Set", "MutableSet", "AbstractSet", *_CONTAINERS},
    "str": {"Hashable", *_SEQUENCE},
    "tuple": {"Hashable", *_SEQUENCE},
    "uuid.UUID": {"Hashable"},
}
_PLAIN = {"Any", "None", "bool", "bytes", "dict", "float", "int", "list", "str"}
_ABSTRACT = set().union(*_SUPERTYPES.values()) - set(_SUPERTYPES)
_WRITTEN_AS_TEXT = {
    "datetime.date",
    "datetime.datetime",
    "datetime.time",
    "decimal.Decimal",
    "os.PathLike",
    "pathlib.Path",
    "uuid.UUID",
}


def type_text(annotation: Any, names: Mapping[str, Any] | None = None) -> str | None:
    """``annotation`` as normalised text, or None when there is none. ``names`` are the globals it was written among."""
    if annotation is None:
        return "None"
    if isinstance(annotation, str):
        if annotation in _PLAIN and not (names and annotation in names):
            return annotation
        if not names or names.keys().isdisjoint(_roots(annotation)):
            return _unresolved(annotation)
        return _text(_from_syntax(_syntax(annotation), names))
    return _text(_from_object(annotation))


@lru_cache(maxsize=4096)
def fits(given: str | None, wanted: str | None, *, constant: bool = False) -> bool:
    """Whether a value declared as ``given`` may be handed to something declared as ``wanted``.

    ``constant``: the value is JSON written in the pipeline, so a list may stand for a tuple and text for a date.
    """
    if given is None or wanted is None:
        return True
    return _fits(_parse(given), _parse(wanted), constant)


def item_type(text: str | None) -> str | None:
    """The type of the elements of a list (``list[int]`` -> ``int``); None when that is unknown."""
    if text is None:
        return None
    name, args = _parse(text)
    return _text(args[0]) if args and name in {"list", "set", "frozenset", *_SEQUENCE} else None


def value_type(text: str | None) -> str | None:
    """The type of the values of a mapping (``dict[str, float]`` -> ``float``); None when that is unknown."""
    if text is None:
        return None
    name, args = _parse(text)
    return _text(args[1]) if len(args) == 2 and name in {"dict", "Mapping", "MutableMapping"} else None


def tuple_types(text: str | None) -> list[str] | None:
    """``tuple[A, B]`` -> its element types; None for anything else, ``tuple[A, ...]`` too."""
    if text is None or not text.startswith("tuple["):
        return None
    _, args = _parse(text)
    return None if not args or ("...", ()) in args else [_text(arg) for arg in args]


def choices(text: str | None) -> tuple[Any, ...]:
    """The values of ``Literal[…]`` (also ``Literal[…] | None``)."""
    if text is None or "Literal" not in text:
        return ()
    name, args = _parse(text)
    for part in args if name == "|" else ((name, args),):
        if part[0] == "Literal":
            return tuple(part[1])
    return ()


def parts(text: str) -> tuple[TypeTree, ...]:
    """The members of a union; a type that is none is its only member."""
    tree = _unwrapped(_parse(text))
    return tree[1] if tree[0] == "|" else (tree,)


def constant_type(value: Any) -> str:
    """The type of a JSON constant, down to its elements when they agree."""
    if value is None:
        return "None"
    if isinstance(value, list):
        kinds = {constant_type(item) for item in value}
        return f"list[{kinds.pop()}]" if len(kinds) == 1 else "list"
    if isinstance(value, dict):
        kinds = {constant_type(item) for item in value.values()}
        return f"dict[str, {kinds.pop()}]" if len(kinds) == 1 else "dict"
    return type(value).__name__


# ------------------------------------------------------------------------------------------------ text <-> tree


@lru_cache(maxsize=4096)
def _parse(text: str) -> TypeTree:
    try:
        return _from_syntax(ast.parse(text, mode="eval").body, {})
    except SyntaxError:
        return ("?", ())


@lru_cache(maxsize=4096)
def _syntax(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        return ast.Constant(text.strip().partition("[")[0] or "?")


@lru_cache(maxsize=4096)
def _roots(text: str) -> frozenset[str]:
    """The names that an annotation begins its parts with: what would have to be looked up."""
    tree = _syntax(text)
    quoted = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return frozenset(found.union(*(_roots(part) for part in quoted if part != text)))


@lru_cache(maxsize=4096)
def _unresolved(text: str) -> str:
    return _text(_from_syntax(_syntax(text), {}))


def _text(tree: TypeTree) -> str:
    name, args = tree
    if name == "|":
        return " | ".join(_text(arg) for arg in args)
    if name == "Literal":
        return f"Literal[{', '.join(map(repr, args))}]"
    if name == "[]":
        return f"[{', '.join(_text(arg) for arg in args)}]"
    return f"{name}[{', '.join(_text(arg) for arg in args)}]" if args else name


def _name(dotted: str) -> str:
    for prefix in _TYPING:
        if dotted.startswith(prefix):
            dotted = dotted[len(prefix) :]
    return _CANONICAL.get(dotted, dotted)


def _union(members: list[TypeTree]) -> TypeTree:
    flat: dict[TypeTree, None] = {}
    for member in members:
        flat.update(dict.fromkeys(member[1] if member[0] == "|" else (member,)))
    return ("|", tuple(flat)) if len(flat) > 1 else next(iter(flat))


def _from_syntax(node: ast.expr, names: Mapping[str, Any]) -> TypeTree:  # noqa: PLR0911 - one per kind of node
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):  # a quoted forward reference
            inner = _syntax(node.value)
            return _from_syntax(inner, names) if not isinstance(inner, ast.Constant) else (node.value, ())
        return ("...", ()) if node.value is ... else (str(node.value), ())
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union([_from_syntax(node.left, names), _from_syntax(node.right, names)])
    if isinstance(node, ast.Subscript):
        return _subscript(node, names)
    if isinstance(node, ast.List):
        return ("[]", tuple(_from_syntax(item, names) for item in node.elts))
    if isinstance(node, (ast.Name, ast.Attribute)):
        return _resolved(ast.unparse(node), names)
    return ("?", ())


def _subscript(node: ast.Subscript, names: Mapping[str, Any]) -> TypeTree:
    name, _ = _from_syntax(node.value, names)
    items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "Literal":
        values = [_literal(item, names) for item in items]
        return ("?", ()) if ... in values else (name, tuple(values))
    args = [_from_syntax(item, names) for item in items[:1] if name == "Annotated"] or [
        _from_syntax(item, names) for item in items
    ]
    if name == "Optional":
        return _union([args[0], ("None", ())])
    if name == "Union":
        return _union(args)
    return (name, tuple(args))


def _literal(node: ast.expr, names: Mapping[str, Any]) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:  # a member of an enum
        value = _lookup(ast.unparse(node), names)
        return getattr(value, "value", ...)


def _lookup(dotted: str, names: Mapping[str, Any]) -> Any:
    head, *rest = dotted.split(".")
    value = names.get(head)
    for part in rest:
        value = getattr(value, part, None)
    return value


def _resolved(dotted: str, names: Mapping[str, Any]) -> TypeTree:
    head, _, rest = dotted.partition(".")
    found = names.get(head)
    if found is None:
        module = _ALIASES.get(head)
        return (_name(f"{module}.{rest}" if module and rest else dotted), ())
    if not rest:
        return _from_object(found)
    value = _lookup(dotted, names)
    if value is not None and not isinstance(found, type):
        return _from_object(value)
    return (_name(f"{getattr(found, '__name__', head)}.{rest}"), ())


def _from_object(value: Any) -> TypeTree:  # noqa: PLR0911 - one per kind of annotation
    if value is None or value is type(None):
        return ("None", ())
    if value is ...:
        return ("...", ())
    if isinstance(value, str):
        return _parse(value)
    if isinstance(value, list):
        return ("[]", tuple(_from_object(item) for item in value))
    if hasattr(value, "__metadata__"):  # Annotated
        return _from_object(value.__origin__)
    origin, args = getattr(value, "__origin__", None), getattr(value, "__args__", None)
    if args is not None and type(value).__name__ in {"UnionType", "_UnionGenericAlias", "Union"}:
        return _union([_from_object(arg) for arg in args])
    if origin is not None and args is not None:
        name, _ = _from_object(origin)
        if name == "Union":
            return _union([_from_object(arg) for arg in args])
        if name == "Literal":
            return (name, tuple(getattr(arg, "value", arg) for arg in args))
        return (name, tuple(_from_object(arg) for arg in args))
    if isinstance(value, type):
        name = _name(f"{value.__module__}.{value.__qualname__}")
        _CLASSES[name] = value
        return (name, ())
    # A special form (typing.Any, typing.Literal), a NewType, a TypeVar: by name, when it has one.
    special = getattr(value, "_name", None) or getattr(value, "__name__", None)
    return (_name(str(special)), ()) if special and getattr(value, "__module__", "") == "typing" else ("?", ())


_CLASSES: dict[str, type] = {}
"""Classes met in annotations, so that a subclass fits where its base is wanted."""


# ----------------------------------------------------------------------------------------------------- matching


def _unwrapped(tree: TypeTree) -> TypeTree:
    while tree[0].rpartition(".")[2] in _WRAPPERS:
        if not tree[1]:
            return ("Any", ())
        tree = tree[1][0]
    return tree


def _fits(given: TypeTree, wanted: TypeTree, constant: bool) -> bool:  # noqa: PLR0911 - one per rule
    given, wanted = _unwrapped(given), _unwrapped(wanted)
    if given[0] == "|":
        return any(_fits(member, wanted, constant) for member in given[1])
    if wanted[0] == "|":
        return any(_fits(given, member, constant) for member in wanted[1])
    if wanted[0] in _ANYTHING or given[0] in _ANYTHING:
        return True
    if given[0] == "Literal" or wanted[0] == "Literal":
        return any(_fits(a, b, constant) for a in _bases(given) for b in _bases(wanted))
    if given[0] == wanted[0]:
        return _arguments_fit(given, wanted, constant)
    if constant and _constant_fits(given, wanted):
        return True
    return _names_fit(given[0], wanted[0])


def _bases(tree: TypeTree) -> tuple[TypeTree, ...]:
    return tuple((constant_type(value), ()) for value in tree[1]) if tree[0] == "Literal" else (tree,)


def _arguments_fit(given: TypeTree, wanted: TypeTree, constant: bool) -> bool:
    name, a, b = given[0], given[1], wanted[1]
    if name not in {"list", "dict", "set", "frozenset", "tuple"} or len(a) != len(b):
        return True  # the parameters of other generics may mean anything
    return all(_fits(x, y, constant) for x, y in zip(a, b, strict=True))


def _constant_fits(given: TypeTree, wanted: TypeTree) -> bool:
    if given[0] == "str":
        return wanted[0] in _WRITTEN_AS_TEXT or wanted[0] not in _SUPERTYPES
    return given[0] == "list" and wanted[0] in {"tuple", "set", "frozenset"}


def _names_fit(given: str, wanted: str) -> bool:
    if given in _SUPERTYPES and (wanted in _SUPERTYPES or wanted in _ABSTRACT):
        return wanted in _SUPERTYPES[given]
    a, b = _CLASSES.get(given), _CLASSES.get(wanted)
    if a is None or b is None or getattr(a, "_is_protocol", False) or getattr(b, "_is_protocol", False):
        return True
    try:
        return issubclass(a, b) or issubclass(b, a)
    except TypeError:
        return True
