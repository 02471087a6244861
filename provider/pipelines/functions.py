"""The functions behind steps: what they are called, how they are found again, what they take and give."""

from __future__ import annotations

import sys
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import PipelineInvalid, StepNotImportable, did_you_mean
from .spec import SINGLE, OutputSpec
from .types import tuple_types, type_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LOCAL: dict[str, Any] = {}
"""Functions that no import finds (defined in a function, or a lambda), by reference; the latest definition counts."""


class Signature(NamedTuple):
    """What can be passed: names in order, those that are required, declared types, and what comes back."""

    names: tuple[str, ...]
    positional: int
    required: tuple[str, ...]
    types: dict[str, str | None]
    returns: str | None
    open: bool
    """It takes ``**kwargs``: any other name may be passed too."""


def reference(function: Any) -> str:
    """``module:qualname``; :func:`resolve` is the way back."""
    name = f"{function.__module__}:{function.__qualname__}"
    if "<" in name:
        _LOCAL[name] = function
    return name


def resolve(name: str) -> Any:
    """The function, ``Step`` or class called ``module:qualname``. Raises ``StepNotImportable``."""
    module_name, _, qualname = name.partition(":")
    if name in _LOCAL:
        return _LOCAL[name]
    if not module_name or not qualname:
        raise StepNotImportable(
            f'"{name}" names no function.', hint='Write "module:function", for example "acme.churn:train".'
        )
    found: Any = sys.modules.get(module_name)
    if found is None:
        from importlib import import_module

        try:
            found = import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or not (module_name == error.name or module_name.startswith(f"{error.name}.")):
                raise
            raise StepNotImportable(
                f'"{name}" cannot be imported: there is no module "{error.name}" on the Python path.',
                hint="Install the package that holds it, or add its folder to PYTHONPATH.",
                function=name,
            ) from None
    for part in qualname.split("."):
        owner, found = found, getattr(found, part, None)
        if found is None:
            known = [n for n, v in vars(owner).items() if callable(v) and not n.startswith("_")]
            raise StepNotImportable(
                f'"{name}" cannot be imported: {module_name} has no "{part}".',
                hint=did_you_mean(part, known),
                function=name,
            )
    return found


def why_not_importable(name: str) -> str | None:
    """Why a process elsewhere could not import ``name``; None if it looks as if it could."""
    module, _, qualname = name.partition(":")
    if module == "__main__":
        return "is defined in the script that was started (__main__)"
    if module.startswith("unusual_prefix_"):
        file = getattr(sys.modules.get(module), "__file__", None) or module
        return f"is defined in the DAG file {file}"
    if "<lambda>" in qualname:
        return "is a lambda"
    if "<locals>" in qualname:
        return f"is defined inside the function {qualname.partition('.<locals>')[0]}"
    return None


def signature(function: Any) -> Signature:
    """Read it from the code object: a tenth of the time of ``inspect.signature``, which serves what has none.

    Raises ``PipelineInvalid`` for ``*args``: an input of a step has a name.
    """
    if isinstance(function, type):
        run = getattr(function, "run", None)
        if run is None:
            raise PipelineInvalid(
                f"{function.__qualname__} is no step: it has no method run().",
                hint="Give the component a method run(self, ...) that takes inputs and returns outputs.",
            )
        return _without_self(signature(run))
    if not isinstance(function, FunctionType) or hasattr(function, "__wrapped__"):
        return _inspected(function)
    code = function.__code__
    if code.co_flags & 0x04:
        raise _star(function)
    positional, keyword = code.co_argcount, code.co_kwonlyargcount
    names = code.co_varnames[: positional + keyword]
    defaults = len(function.__defaults__ or ())
    with_default = {*names[positional - defaults : positional], *(function.__kwdefaults__ or ())}
    return _signature(function, names, positional, with_default, bool(code.co_flags & 0x08))


def _inspected(function: Callable[..., Any]) -> Signature:
    import inspect

    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise _star(function)
    named = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
    return _signature(
        inspect.unwrap(function),
        tuple(p.name for p in named),
        sum(p.kind is not p.KEYWORD_ONLY for p in named),
        {p.name for p in named if p.default is not p.empty},
        len(named) < len(parameters),
    )


def _signature(
    function: Any, names: tuple[str, ...], positional: int, with_default: set[str], open_: bool
) -> Signature:
    annotations: Mapping[str, Any] = getattr(function, "__annotations__", {})
    scope: Mapping[str, Any] = getattr(function, "__globals__", {})
    return Signature(
        names=names,
        positional=positional,
        required=tuple(name for name in names if name not in with_default),
        types={name: type_text(annotations[name], scope) for name in names if name in annotations},
        returns=type_text(annotations["return"], scope) if "return" in annotations else None,
        open=open_,
    )


def _without_self(found: Signature) -> Signature:
    return found._replace(
        names=found.names[1:],
        positional=found.positional - 1,
        required=tuple(name for name in found.required if name != found.names[0]),
    )


def _star(function: Any) -> PipelineInvalid:
    return PipelineInvalid(
        f"{function.__qualname__} takes *args; every input of a step has a name.",
        hint="Take one list instead, and pass several outputs as [a, b].",
    )


def outputs(
    function: Any, found: Signature, names: tuple[str, ...] | None, artifacts: Mapping[str, str]
) -> tuple[OutputSpec, ...]:
    """The outputs of a step: as named, else as annotated (a NamedTuple, ``tuple[A, B]``, ``None``), else one."""
    types: list[str | None]
    if names is not None:
        types = list(tuple_types(found.returns) or ())
        if types and len(types) != len(names) and len(names) > 1:
            raise PipelineInvalid(
                f"{function.__qualname__} names {len(names)} outputs ({', '.join(names)}) and returns {found.returns}.",
                hint="Name each element of the tuple.",
            )
        if len(names) == 1:
            types = [found.returns]
        types += [None] * (len(names) - len(types))
    elif found.returns == "None":
        return ()
    elif (fields := _fields(function)) is not None:
        names, types = fields
    elif (elements := tuple_types(found.returns)) is not None and len(elements) > 1:
        names, types = tuple(f"output_{i}" for i in range(len(elements))), list(elements)
    else:
        names, types = (SINGLE,), [found.returns]
    return tuple(OutputSpec(name, type_, artifacts.get(name)) for name, type_ in zip(names, types, strict=True))


def _fields(function: Any) -> tuple[tuple[str, ...], list[str | None]] | None:
    """Names and types of the NamedTuple that is returned, if it is one and known here."""
    function = getattr(function, "run", None) if isinstance(function, type) else function
    returns = getattr(function, "__annotations__", {}).get("return")
    if isinstance(returns, str):
        returns = getattr(function, "__globals__", {}).get(returns)
    names: tuple[str, ...] | None = getattr(returns, "_fields", None)
    if not names or not isinstance(returns, type):
        return None
    scope = vars(sys.modules.get(returns.__module__, object))
    hints = getattr(returns, "__annotations__", {})
    return names, [type_text(_forward(hints[name]), scope) if name in hints else None for name in names]


def _forward(hint: Any) -> Any:
    return getattr(hint, "__forward_arg__", hint)  # NamedTuple wraps text annotations
