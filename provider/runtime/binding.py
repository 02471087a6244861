"""From a :class:`StepInvocation` to a call: find the function, load its arguments, coerce plain values.

Values arrive as JSON, or as strings where Airflow has rendered a template; they become what the parameter is
annotated with, if that is a simple type. Artifacts are loaded, or handed over as a lazy ``Artifact`` handle when the
parameter asks for one. Nothing is ever refused because an annotation cannot be resolved.
"""

from __future__ import annotations

import enum
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args, get_origin

from ..errors import StepFailed, StepNotImportable, WindsockError, did_you_mean
from ..pipelines.functions import resolve
from . import typehints
from .typehints import UNKNOWN

if TYPE_CHECKING:
    from ..artifacts.store import ArtifactStore
    from .invocation import Bound, Ref, StepInvocation

_TRUE = {"1", "true", "t", "yes", "y", "on"}
_FALSE = {"0", "false", "f", "no", "n", "off"}
_SIMPLE: tuple[Any, ...] = (bool, int, float, str, Path, datetime, date, timedelta, Decimal, list, dict, tuple, set)


class Target(NamedTuple):
    """What is called: ``call`` with the arguments; ``source`` is the function or class whose code it is.

    ``signed`` carries the signature; of a component that is its ``run`` (a ``method``, whose ``self`` does not count).
    """

    call: Callable[..., Any]
    source: Callable[..., Any]
    signed: Callable[..., Any]
    method: bool = False


def target(invocation: StepInvocation, function: Any = None) -> Target:
    """What to call for an invocation. A ``Step`` is unwrapped, a ``Component`` class built from its config."""
    found = resolve(invocation.function) if function is None else function
    found = unwrap(found)
    if isinstance(found, type):
        component: Any = found
        built = component.from_mapping(invocation.config or {})
        return Target(built.run, found, component.run, method=True)
    if not callable(found):
        raise StepNotImportable(f'"{invocation.function}" is a {type(found).__name__}, not a step or a function.')
    return Target(found, found, found)


def unwrap(step: Any) -> Any:
    """The function or class behind a ``Step``."""
    return step if isinstance(step, type) else getattr(step, "function", step)


class _Parameter(NamedTuple):
    kind: Any
    annotation: Any
    handle: bool
    columns: tuple[str, ...] | None = None


@lru_cache(maxsize=1024)
def _parameters(signed: Callable[..., Any], method: bool) -> dict[str, _Parameter]:
    described = {}
    for name, parameter in list(typehints.signature(signed).parameters.items())[method:]:
        annotation, columns = typehints.columns(signed, parameter.annotation)
        handle = typehints.wants_handle(signed, parameter.annotation)
        described[name] = _Parameter(parameter.kind, annotation, handle, columns)
    return described


_NO_PARAMETER = _Parameter(inspect.Parameter.KEYWORD_ONLY, UNKNOWN, handle=False)


class Binder:
    """The arguments of one invocation: their plain values coerced at once, their artifacts loaded on demand."""

    def __init__(self, invocation: StepInvocation, target: Target) -> None:
        self.step = invocation.step
        self._parameters = _parameters(target.signed, target.method)
        self._allow_pickle = invocation.allow_pickle
        self.arguments = {name: self._coerced(name, bound) for name, bound in invocation.arguments.items()}
        self._check_names(invocation)

    def values(self) -> dict[str, Any]:
        """The plain arguments as JSON, for the record and the cache key."""
        return {k: _json(b["value"]) for k, b in self.arguments.items() if "value" in b}

    def refs(self) -> Iterator[tuple[str, Ref]]:
        """Every artifact that goes in, with the name of its parameter."""
        for name, bound in self.arguments.items():
            for ref in bound_refs(bound):
                yield name, ref

    def key(self, store: ArtifactStore) -> list[Any]:
        """The arguments as they enter the cache key: values and content digests, no versions and no places.

        A part of a JSON artifact enters by its value: a step that takes ``metrics["accuracy"]``, or one element of a
        list, does not depend on the rest.
        """
        return [[name, self._key(bound, name, store)] for name, bound in sorted(self.arguments.items())]

    def _key(self, bound: Bound, name: str, store: ArtifactStore) -> Any:
        if "value" in bound:
            return {"value": _json(bound["value"])}
        if "list" in bound:
            return [self._key(item, name, store) for item in bound["list"]]
        ref, path = bound["artifact"], bound.get("path") or []
        if path and str(ref["uri"]).endswith(".json"):
            with suppress(WindsockError):  # it will be raised where the argument is loaded
                return {"value": select(self._value(ref, store), path, self.step, name)}
        key = [ref["digest"], ref.get("type"), *path]
        return [*key, ref.get("artifact")] if self._handle(name) else key  # a handle shows its name to the step

    def load(self, store: ArtifactStore) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments of the call. Raises what ``artifacts.load`` raises."""
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        for name, bound in self.arguments.items():
            value = self._load(bound, store, name)
            kind = self._parameters.get(name, _NO_PARAMETER).kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                positional.extend(value)
            elif kind is inspect.Parameter.VAR_KEYWORD and isinstance(value, Mapping):
                keywords.update(value)
            else:
                keywords[name] = value
        if positional or any(p.kind is inspect.Parameter.POSITIONAL_ONLY for p in self._parameters.values()):
            first = [n for n, p in self._parameters.items() if p.kind in _POSITIONAL and n in keywords]
            positional = [keywords.pop(name) for name in first] + positional
        return positional, keywords

    def _load(self, bound: Bound, store: ArtifactStore, name: str) -> Any:
        if "value" in bound:
            return bound["value"]
        if "list" in bound:
            return [self._load(item, store, name) for item in bound["list"]]
        ref, path = bound["artifact"], bound.get("path") or []
        if self._handle(name) and not path:
            from ..artifacts.handle import Artifact

            return Artifact.bind(ref, store, allow_pickle=self._allow_pickle)
        columns = None if path else self._parameters.get(name, _NO_PARAMETER).columns
        return select(self._value(ref, store, columns), path, self.step, name)

    def _value(self, ref: Ref, store: ArtifactStore, columns: tuple[str, ...] | None = None) -> Any:
        """The value, of a table perhaps some columns, read anew each time: a step may change what it is given."""
        from ..artifacts.saving import load

        return load(ref, store, allow_pickle=self._allow_pickle, columns=columns)

    def _handle(self, name: str) -> bool:
        return self._parameters.get(name, _NO_PARAMETER).handle

    def _coerced(self, name: str, bound: Bound) -> Bound:
        if "value" not in bound:
            return bound
        annotation = self._parameters.get(name, _NO_PARAMETER).annotation
        try:
            return {"value": coerce(bound["value"], annotation)}
        except (ValueError, TypeError, ArithmeticError) as error:
            raise StepFailed(
                f'Step "{self.step}": argument "{name}" is {bound["value"]!r}, '
                f"which is no {typehints.type_name(annotation)} ({error}).",
                hint=f'Pass a {typehints.type_name(annotation)}, or change the annotation of "{name}".',
                step=self.step,
                argument=name,
            ) from None

    def _check_names(self, invocation: StepInvocation) -> None:
        known = self._parameters
        if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values()):
            return
        extra = [name for name in self.arguments if name not in known]
        if extra:
            raise StepFailed(
                f'Step "{self.step}" ({invocation.function}) has no argument "{extra[0]}".',
                hint=f"Was it renamed after the DAG was parsed? {did_you_mean(extra[0], known)}",
                step=self.step,
                argument=extra[0],
            )


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def bound_refs(bound: Bound) -> Iterator[Ref]:
    if "artifact" in bound:
        yield bound["artifact"]
    for item in bound.get("list", ()):
        yield from bound_refs(item)


def select(value: Any, path: Sequence[Any], step: str, argument: str) -> Any:
    """``value[path[0]][path[1]]…``. Raises ``StepFailed`` that says which keys there are."""
    reached = 0
    try:
        for key in path:
            reached += 1
            value = value[key]
    except (KeyError, IndexError, TypeError) as error:
        asked = "".join(f"[{part!r}]" for part in path[:reached])
        found = sorted(map(str, value)) if isinstance(value, Mapping) else f"a {type(value).__name__}"
        raise StepFailed(
            f'Step "{step}": argument "{argument}" asks for {asked}, but there is {found}.',
            hint="Look at what the upstream step returns.",
            step=step,
            argument=argument,
        ) from error
    return value


def coerce(value: Any, annotation: Any) -> Any:
    """``value`` as the simple type that an annotation names; as it is if that is not simple, or fits already.

    Raises ``ValueError``, ``TypeError`` or ``ArithmeticError`` when it cannot be.
    """
    origin = get_origin(annotation)
    kind = origin or annotation
    if annotation is UNKNOWN or value is None or type(value) is kind:
        return value
    if origin in typehints.UNIONS:
        return _coerce_union(value, get_args(annotation))
    if origin is Literal:
        return next((choice for choice in get_args(annotation) if str(choice) == str(value)), value)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind[value] if isinstance(value, str) and value in kind.__members__ else kind(value)
    if isinstance(value, str) and getattr(kind, "__name__", "") == "ObjectStoragePath":
        return kind(value)  # Airflow's, known by its name: this runs without Airflow, too
    return _coerce_simple(value, kind) if kind in _SIMPLE else value


def _coerce_union(value: Any, choices: tuple[Any, ...]) -> Any:
    if isinstance(value, str) and type(None) in choices and value in {"None", ""} and str not in choices:
        return None
    if any(typehints.fits(value, choice) for choice in choices if choice is not UNKNOWN):
        return value
    for choice in choices:
        with suppress(ValueError, TypeError, ArithmeticError):
            return coerce(value, choice)
    return value


def _coerce_simple(value: Any, kind: Any) -> Any:
    for kinds, convert in _CONVERSIONS:
        if kind in kinds:
            return convert(value, kind)
    return value


def _number(value: Any, kind: Any) -> Any:
    return kind(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else value


def _container(value: Any, kind: Any) -> Any:
    return kind(json.loads(value) if isinstance(value, str) else value)


def _boolean(value: Any, kind: Any) -> bool:
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("neither true nor false")


def _integer(value: Any, kind: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError("it has a fraction")
    return int(value)


def _moment(value: Any, kind: Any) -> Any:
    if isinstance(value, kind):
        return value
    moment = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    return moment if kind is datetime else moment.date()


_CONVERSIONS: tuple[tuple[tuple[Any, ...], Callable[[Any, Any], Any]], ...] = (
    ((bool,), _boolean),
    ((int,), _integer),
    ((float, Decimal, Path), _number),
    ((str,), lambda value, kind: kind(value)),
    ((timedelta,), lambda value, kind: kind(seconds=float(value))),
    ((datetime, date), _moment),
    ((list, dict, tuple, set), _container),
)


def _json(value: Any) -> Any:
    """A coerced value as JSON again, so that ``"0.1"`` from a template and ``0.1`` are one parameter."""
    for kinds, convert in _TO_JSON:
        if isinstance(value, kinds):
            return convert(value)
    return value


_TO_JSON: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (enum.Enum, lambda value: value.value),
    ((str, int, float), lambda value: value),
    ((Path, Decimal), str),
    ((datetime, date), lambda value: value.isoformat()),
    (timedelta, lambda value: value.total_seconds()),
    (set, sorted),
    (tuple, list),
)
