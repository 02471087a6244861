"""Gates: the conditions under which a model version may be promoted.

A gate is a frozen value with a JSON form, so that an operator takes it as an argument, a YAML file holds it and the
alias history keeps it. ``gate.evaluate(comparison)`` only reads and computes: it changes nothing and decides nothing;
the registry asks all gates and moves the alias if every one passed.

A gate that cannot be evaluated (data gone, no such metric, a model that refuses the columns) does not pass, and its
outcome says why. An outage (:class:`StoreUnavailable`, :class:`MetadataUnavailable`) is raised instead, because a
retry may well succeed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from ..errors import (
    MetadataUnavailable,
    RegistryError,
    StoreUnavailable,
    WindsockError,
    did_you_mean,
)
from .metrics import metric_named

if TYPE_CHECKING:
    from .comparison import Comparison

_ROUNDING = 1e-12
"""0.95 - 0.93 is 0.01999…: a margin of 0.02 must accept it."""


@dataclass(frozen=True)
class GateOutcome:
    """What one gate said: its JSON form, whether it passed, one line why, and the numbers behind it."""

    gate: dict[str, Any]
    passed: bool
    detail: str
    values: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {"gate": dict(self.gate), "passed": self.passed, "detail": self.detail, "values": _finite(self.values)}

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> GateOutcome:
        return cls(dict(form["gate"]), bool(form["passed"]), str(form["detail"]), dict(form.get("values") or {}))

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'failed'}: {self.detail}"


@runtime_checkable
class Gate(Protocol):
    """A condition for a promotion. Must not change anything: it may be evaluated again on a retry."""

    def evaluate(self, comparison: Comparison) -> GateOutcome:
        """Say whether the candidate may replace the current version."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; ``gate_from_dict`` reads it back."""
        ...


class _Form:
    """JSON form of a gate dataclass: ``{"gate": kind, field: value…}`` without the fields at their defaults."""

    kind: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        own = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        defaults = {f.name: f.default for f in fields(self)}  # type: ignore[arg-type]
        return {"gate": self.kind, **{k: v for k, v in own.items() if v != defaults[k] and v != {}}}


@dataclass(frozen=True)
class MetricGate(_Form):
    """A metric recorded with the candidate lies within bounds, both included.

    It reads the number that was logged at registration and computes nothing; for a fair comparison of two versions
    use :class:`BetterThanCurrent`.
    """

    kind: ClassVar[str] = "metric"
    metric: str
    minimum: float | None = None
    maximum: float | None = None

    def __post_init__(self) -> None:
        if self.minimum is None and self.maximum is None:
            raise RegistryError(
                f'A gate on metric "{self.metric}" has neither minimum nor maximum.',
                hint=f'Write MetricGate("{self.metric}", minimum=0.9).',
            )
        _check_number("minimum", self.minimum)
        _check_number("maximum", self.maximum)

    def evaluate(self, comparison: Comparison) -> GateOutcome:
        recorded = comparison.candidate.metrics
        bounds = self._bounds()
        if self.metric not in recorded:
            return GateOutcome(
                self.to_dict(), False, f"{bounds}: no such metric was recorded. {did_you_mean(self.metric, recorded)}"
            )
        value = recorded[self.metric]
        # Written so that NaN, which compares false with everything, does not pass.
        passed = (self.minimum is None or value >= self.minimum) and (self.maximum is None or value <= self.maximum)
        return GateOutcome(self.to_dict(), passed, f"{bounds}: it is {_show(value)}", {"value": value})

    def _bounds(self) -> str:
        if self.minimum is None:
            return f"{self.metric} ≤ {self.maximum:g}"
        if self.maximum is None:
            return f"{self.metric} ≥ {self.minimum:g}"
        return f"{self.minimum:g} ≤ {self.metric} ≤ {self.maximum:g}"


@dataclass(frozen=True)
class BetterThanCurrent(_Form):
    """The candidate beats the version it would replace, both measured now on the same rows.

    Recorded metrics of two versions were usually measured on different data, and differ for that reason alone. So both
    models are loaded and predict the candidate's own evaluation artifact, or with ``on="churn.holdout@2"`` any other
    table in the artifact store (without a version: its newest).

    ``margin`` is how much better, in units of the metric. 0 means strictly better; a negative margin tolerates a loss
    of that size. ``higher_is_better`` is known for metrics of :mod:`.metrics` and need not be given. The first version
    that ever gets the alias passes, with a note. It is a comparison of two numbers, not a significance test.
    """

    kind: ClassVar[str] = "better_than_current"
    metric: str
    margin: float = 0.0
    higher_is_better: bool | None = None
    on: str = "evaluation"
    target: str | None = None

    def __post_init__(self) -> None:
        metric_named(self.metric)
        _check_number("margin", self.margin)

    def evaluate(self, comparison: Comparison) -> GateOutcome:
        current = comparison.current
        if current is None:
            return GateOutcome(
                self.to_dict(), True, f"{self.metric}: nothing to compare with, this is the first version", {}
            )
        metric = metric_named(self.metric)
        try:
            rows = comparison.data(self.on, self.target)
            new = comparison.measure(comparison.candidate, metric, rows)
            old = comparison.measure(current, metric, rows)
        except (StoreUnavailable, MetadataUnavailable):
            raise
        except WindsockError as error:
            return GateOutcome(self.to_dict(), False, f"{self.metric} could not be compared: {error}", {})
        higher = metric.higher_is_better if self.higher_is_better is None else self.higher_is_better
        gain = new - old if higher else old - new
        passed = gain >= self.margin - _ROUNDING if self.margin else gain > 0
        needed = f"at least {self.margin:g}" if self.margin else "more than 0"
        detail = (
            f"{self.metric} {_show(new)} against {_show(old)} of version {current.version} on the same {rows.count} "
            f"rows of {rows.label}: better by {_show(gain)}, needed {needed}"
        )
        values = {"candidate": new, "current": old, "gain": gain, "rows": rows.count, "data": rows.label}
        return GateOutcome(self.to_dict(), passed, detail, values)


@dataclass(frozen=True)
class FunctionGate(_Form):
    """A function of the user's decides: ``FunctionGate("acme.gates:fair", {"group": "age"})``.

    It is called as ``fair(comparison, **arguments)`` (see :class:`~.comparison.Comparison` for what it can read) and
    returns a bool, ``(bool, detail)``, or a :class:`GateOutcome`. An exception that it raises is raised.
    """

    kind: ClassVar[str] = "function"
    function: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.]+:[\w.]+", self.function):
            raise RegistryError(f"A gate function is written module:function, not {self.function!r}.")

    def evaluate(self, comparison: Comparison) -> GateOutcome:
        answer = self._import()(comparison, **self.arguments)
        if isinstance(answer, GateOutcome):
            return GateOutcome(self.to_dict(), answer.passed, answer.detail, answer.values)
        if isinstance(answer, tuple) and len(answer) == 2:
            return GateOutcome(self.to_dict(), bool(answer[0]), f"{self.function}: {answer[1]}")
        # A gate that forgets to return must not open: None is no answer.
        if type(answer).__name__ not in ("bool", "bool_"):
            raise RegistryError(f"Gate {self.function} returned {answer!r}; it must return a bool or (bool, detail).")
        return GateOutcome(self.to_dict(), bool(answer), f"{self.function} says {'yes' if answer else 'no'}")

    def _import(self) -> Any:
        module, _, name = self.function.partition(":")
        try:
            found: Any = import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise RegistryError(f"Gate function {self.function} cannot be imported: {error}.") from error
        return found


_KINDS: dict[str, type[Any]] = {gate.kind: gate for gate in (MetricGate, BetterThanCurrent, FunctionGate)}
_COMPARISON = re.compile(r"\s*([\w.\-]+)\s*(>=|<=)\s*([-+.\deE]+)\s*")


def gate_from_dict(form: Mapping[str, Any]) -> Gate:
    """Build a gate from its JSON form, ``{"gate": "metric", "metric": "accuracy", "minimum": 0.9}``.

    Raises ``RegistryError`` that names the key that is wrong and those that are known.
    """
    options = dict(form)
    kind = options.pop("gate", None)
    if kind not in _KINDS:
        raise RegistryError(f'"{kind}" is no kind of gate.', hint=did_you_mean(str(kind), _KINDS), gate=dict(form))
    cls = _KINDS[kind]
    known = [f.name for f in fields(cls)]
    for key in options:
        if key not in known:
            raise RegistryError(f'Gate "{kind}" has no option "{key}".', hint=did_you_mean(key, known), gate=dict(form))
    if known[0] not in options:
        raise RegistryError(f'Gate "{kind}" needs "{known[0]}".', gate=dict(form))
    gate: Gate = cls(**options)
    return gate


def as_gate(gate: Gate | Mapping[str, Any] | str) -> Gate:
    """One gate from whatever a person may write: a gate, its JSON form, or text for the command line.

    ``"accuracy>=0.9"`` is a :class:`MetricGate`, ``"better:accuracy"`` and ``"better:accuracy:0.01"`` are
    :class:`BetterThanCurrent`, ``"acme.gates:fair"`` is a :class:`FunctionGate`.
    """
    if isinstance(gate, Mapping):
        return gate_from_dict(gate)
    if not isinstance(gate, str):
        if isinstance(gate, Gate):
            return gate
        raise RegistryError(f"{gate!r} is no gate: it has no evaluate and to_dict.")
    if match := _COMPARISON.fullmatch(gate):
        name, sign, number = match.groups()
        bound = _number(number, gate)
        return MetricGate(name, minimum=bound) if sign == ">=" else MetricGate(name, maximum=bound)
    if gate.startswith("better:"):
        _, name, *margin = gate.split(":", 2)
        return BetterThanCurrent(name, margin=_number(margin[0], gate) if margin else 0.0)
    if ":" in gate:
        return FunctionGate(gate)
    raise RegistryError(
        f"Gate {gate!r} cannot be read.",
        hint='Write "accuracy>=0.9", "better:accuracy:0.01" (than the current version), or "module:function".',
    )


def evaluate_all(gates: Sequence[Gate], comparison: Comparison) -> list[GateOutcome]:
    """Every gate's outcome, in order: all are evaluated, so that one refusal shows everything that is wrong."""
    return [gate.evaluate(comparison) for gate in gates]


def _number(text: str, gate: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise RegistryError(f"Gate {gate!r}: {text!r} is no number.") from None


def _check_number(name: str, value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value)):
        raise RegistryError(f"A gate's {name} is {value!r}, which is no number.")


def _show(value: float) -> str:
    return f"{value:.4g}"


def _finite(value: Any) -> Any:
    """NaN and infinity are not JSON."""
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


__all__ = [
    "BetterThanCurrent",
    "FunctionGate",
    "Gate",
    "GateOutcome",
    "MetricGate",
    "as_gate",
    "evaluate_all",
    "gate_from_dict",
]
