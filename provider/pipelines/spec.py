"""What was written: a pipeline as frozen data, whether it came from Python or from YAML.

Everything after this point (the compiler, the in-process runner, the recorded pipeline version) reads a
:class:`PipelineSpec` and nothing else. Standard library only: it is built whenever Airflow parses a DAG file. Its parts
are named tuples, because defining a dataclass takes seven times as long, in every process of Airflow.

An **argument** is a plain JSON mapping of one of four forms::

    {"value": json}                                      a constant
    {"parameter": "snapshot"}                            a parameter of the run
    {"step": "split", "output": "train"}                 an output; with "path": [keys…] a part of it
    {"list": [argument…]}                                several, handed over as one list

If ``step`` is a mapped step (``StepSpec.mapped`` is not empty), its output is the list of all instances' outputs.

A **condition's expression** is a tree whose leaves are arguments::

    {"op": "==" | "!=" | "<" | "<=" | ">" | ">=" | "and" | "or", "left": …, "right": …}
    {"op": "not" | "true", "left": …}                    "true": the argument, taken as a truth value
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .resources import Resources

Argument = dict[str, Any]
Expression = dict[str, Any]

SINGLE = "output"
"""The name of a step's only output."""


class ParameterSpec(NamedTuple):
    """A parameter of a pipeline.

    ``type`` is the annotation as text, normalised (``"float"``, ``"str | None"``), or None; ``choices`` are the values
    of a ``Literal`` or an ``Enum``. ``default`` is JSON and means nothing when ``required``.
    """

    name: str
    type: str | None = None
    default: Any = None
    required: bool = False
    choices: tuple[Any, ...] = ()
    description: str | None = None


class OutputSpec(NamedTuple):
    """An output of a step: its name, the declared type as text (None: unknown), the artifact's name if overridden."""

    name: str
    type: str | None = None
    artifact: str | None = None


class StepOptions(NamedTuple):
    """How a step runs. ``retry_delay`` and ``timeout`` are seconds; None leaves Airflow's own default.

    ``asset`` makes every output an Airflow asset that other DAGs can be scheduled on. ``pickle`` allows what no
    materializer can store to be pickled.
    """

    retries: int | None = None
    retry_delay: float | None = None
    timeout: float | None = None
    pool: str | None = None
    resources: Resources | None = None
    compute: str | None = None
    stack: str | None = None
    cache: bool = True
    pickle: bool = False
    asset: bool = False


DEFAULT_OPTIONS = StepOptions()


class StepSpec(NamedTuple):
    """One run of a step in a pipeline.

    ``function`` is ``module:qualname`` of a function, a Step, or a Component class with ``run`` (then ``config`` is
    what it is built from). ``arguments`` are in the order of its signature. ``mapped`` names the arguments that are
    lists to run over, one instance for each element (of several: for each combination, the last changing fastest).

    ``condition`` is the innermost ``when`` around the step. ``optional`` names the arguments that come from a step
    which may be skipped when this one runs (it stands in another branch, or this is an exit handler) and which have a
    default to fall back on: such an argument is left out, and missing elements of a list are dropped. A step whose
    other inputs are missing is skipped. ``teardown`` steps run last, whatever happened before.

    ``group`` is the path of the inlined pipeline around the step (``"features"``), also the prefix of its name.
    No ``outputs``: the step returns nothing. One output: the value that it returns. Several: it returns a tuple of that
    many values, or a mapping with exactly those names.
    """

    name: str
    function: str
    arguments: tuple[tuple[str, Argument], ...] = ()
    outputs: tuple[OutputSpec, ...] = ()
    options: StepOptions = DEFAULT_OPTIONS
    condition: str | None = None
    after: tuple[str, ...] = ()
    mapped: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    teardown: bool = False
    config: Mapping[str, Any] | None = None
    group: str | None = None

    def upstream(self) -> list[str]:
        """The steps that this one waits for, through data or ``after``; without repetition, in order."""
        names = {leaf["step"]: None for _, argument in self.arguments for leaf in leaves(argument) if "step" in leaf}
        names.update(dict.fromkeys(self.after))
        return list(names)

    def artifact(self, pipeline: str, output: OutputSpec) -> str:
        """The name under which ``output`` is stored: ``churn.train``, ``churn.split.train``, or as overridden."""
        if output.artifact:
            return output.artifact
        name = f"{pipeline}.{self.name}"
        return name if len(self.outputs) == 1 else f"{name}.{output.name}"


class ConditionSpec(NamedTuple):
    """A ``when``: its steps run only if ``expression`` holds, and if ``parent``, the ``when`` around it, did."""

    name: str
    expression: Expression
    parent: str | None = None
    group: str | None = None

    def upstream(self) -> list[str]:
        return list({leaf["step"]: None for leaf in leaves(self.expression) if "step" in leaf})


@dataclass(frozen=True)
class PipelineSpec:
    """A pipeline, whole. ``steps`` are in the order in which they were written, exit handlers last.

    ``module`` is where it was written, for people; two specs are equal without it.
    """

    name: str
    parameters: tuple[ParameterSpec, ...] = ()
    steps: tuple[StepSpec, ...] = ()
    conditions: tuple[ConditionSpec, ...] = ()
    stack: str | None = None
    module: str | None = field(default=None, compare=False)
    doc: str | None = None

    @cached_property
    def by_name(self) -> dict[str, StepSpec]:
        return {step.name: step for step in self.steps}

    @cached_property
    def conditions_by_name(self) -> dict[str, ConditionSpec]:
        return {condition.name: condition for condition in self.conditions}

    @cached_property
    def digest(self) -> str:
        """``sha256:…`` of the canonical JSON, without descriptions: prose does not make a new version."""
        from json import dumps

        data = self.to_dict()
        data.pop("doc", None)
        data.pop("module", None)
        for parameter in data.get("parameters", ()):
            parameter.pop("description", None)
        text = dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return f"sha256:{sha256(stable(text).encode()).hexdigest()}"

    def ordered(self) -> tuple[StepSpec, ...]:
        """The steps so that each comes after everything it waits for. Raises ``PipelineInvalid`` for a cycle."""
        return self._ordered

    @cached_property
    def _ordered(self) -> tuple[StepSpec, ...]:
        from .checks import ordered

        return ordered(self)

    def branch(self, condition: str | None) -> list[str]:
        """The conditions around something, innermost first: what ``StepSpec.condition`` stands for."""
        path: list[str] = []
        while condition is not None:
            path.append(condition)
            condition = self.conditions_by_name[condition].parent
        return path

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON without what has its default; :meth:`from_dict` is the exact inverse."""
        from .encoding import spec_to_dict

        return spec_to_dict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PipelineSpec:
        from .encoding import spec_from_dict

        return spec_from_dict(data)

    def to_yaml(self) -> str:
        """The YAML form, which ``load_pipeline`` reads back to an equal spec."""
        from .yaml_writer import to_yaml

        return to_yaml(self)

    def __deepcopy__(self, memo: Any) -> PipelineSpec:
        # Airflow deep-copies operators (for every partial DAG); frozen data need not be copied with them.
        return self


def leaves(tree: Mapping[str, Any]) -> Iterator[Argument]:
    """The plain arguments inside an argument or an expression, from left to right."""
    if "op" in tree:
        yield from leaves(tree["left"])
        if "right" in tree:
            yield from leaves(tree["right"])
    elif "list" in tree:
        for item in tree["list"]:
            yield from leaves(item)
    else:
        yield dict(tree) if not isinstance(tree, dict) else tree


_DAG_FILE_PREFIX = "unusual_prefix_"


def stable(text: str) -> str:
    """``text`` without the hash of a path that Airflow puts before the module names of DAG files."""
    if _DAG_FILE_PREFIX not in text:
        return text
    from re import sub

    return sub(rf"{_DAG_FILE_PREFIX}[0-9a-f]+_", "", text)
