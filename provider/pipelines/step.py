"""Steps: plain Python functions (or component classes) that a pipeline can run.

A step stays a function. Called outside any pipeline it simply runs; inside a ``@pipeline`` it becomes a node; inside
an Airflow ``with DAG(...)`` block it becomes a task of that DAG.
"""

from __future__ import annotations

import sys
from functools import cached_property, update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast, overload

from ..errors import PipelineInvalid, did_you_mean
from ..names import check_name
from . import functions
from .spec import SINGLE, OutputSpec, StepOptions
from .trace import current

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import timedelta
    from pathlib import Path

    from .resources import Resources

P = ParamSpec("P")
R = TypeVar("R")


class Step(Generic[P, R]):
    """A function with what Windsock needs to run it. Make one with :func:`step`.

    Immutable: :meth:`named` and :meth:`with_options` give new steps. Its signature is read when it is first wired,
    not when it is defined.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        options: StepOptions | None = None,
        outputs: tuple[str, ...] | None = None,
        artifacts: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | Path | None = None,
        fixed_name: bool = False,
    ) -> None:
        update_wrapper(self, function)
        self.function = function
        self.name: str = check_name("step", name or str(getattr(function, "__name__", type(function).__name__)))
        self.options = options or StepOptions()
        self.fixed_name = fixed_name
        self._outputs = outputs
        self._artifacts = artifacts or {}
        self._config = config

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        trace = current()
        if trace is not None:
            return cast("R", trace.call(self, args, kwargs))
        if "airflow.sdk" in sys.modules:
            task = _airflow_task(self, args, kwargs, None)
            if task is not None:
                return cast("R", task)
        return cast("R", self.callable(*args, **kwargs))

    def expand(self, /, **lists: Any) -> Any:
        """Run the step once for each element (of several lists: for each combination). The results are a list.

        A list may be a constant or the output of another step; in Airflow this is dynamic task mapping. Arguments that
        are the same for all instances come before: ``score.partial(model=model).expand(batch=batches)``.
        """
        return Partial(self, {}).expand(**lists)

    def partial(self, /, **kwargs: Any) -> Partial:
        """Fix the arguments that all mapped instances share."""
        return Partial(self, kwargs)

    def named(self, name: str) -> Step[P, R]:
        """The same step under a name of its own: the default is the function's name, then ``train_2``, ``train_3``…"""
        return self._changed(name=name, fixed_name=True)

    def with_options(self, **changes: Any) -> Step[P, R]:
        """The same step with other options, for example ``train.with_options(retries=5)``."""
        known = self.options._fields
        for key in changes:
            if key not in known:
                raise PipelineInvalid(f'Step "{self.name}" has no option "{key}".', hint=did_you_mean(key, known))
        for key in ("retry_delay", "timeout"):
            if key in changes:
                changes[key] = _seconds(key, changes[key])
        return self._changed(options=self.options._replace(**changes))

    def _changed(self, **changes: Any) -> Step[P, R]:
        given = {
            "name": self.name,
            "options": self.options,
            "outputs": self._outputs,
            "artifacts": self._artifacts,
            "config": self._config,
            "fixed_name": self.fixed_name,
        }
        return Step(self.function, **{**given, **changes})

    @cached_property
    def reference(self) -> str:
        """``module:qualname`` of the function."""
        return functions.reference(self.function)

    @cached_property
    def signature(self) -> functions.Signature:
        return functions.signature(self.function)

    @cached_property
    def outputs(self) -> tuple[OutputSpec, ...]:
        """The outputs, as named or as annotated."""
        found = functions.outputs(self.function, self.signature, self._outputs, self._artifacts)
        unknown = set(self._artifacts) - {output.name for output in found}
        if unknown:
            raise PipelineInvalid(
                f'Step "{self.name}" names an artifact for output "{min(unknown)}", which it does not have.',
                hint=did_you_mean(min(unknown), [output.name for output in found]),
            )
        return found

    @cached_property
    def config(self) -> dict[str, Any] | None:
        """The configuration of a component step, validated; None for a function. Raises ``ComponentInvalid``."""
        if self._config is None:
            return {} if isinstance(self.function, type) else None
        from .components import read_config

        return read_config(self.function, self._config)

    @property
    def callable(self) -> Callable[..., Any]:
        """What really runs: the function, or ``run`` of the component built from its configuration."""
        if isinstance(self.function, type):
            return cast("Any", self.function).from_mapping(self.config or {}).run  # type: ignore[no-any-return]
        return self.function

    def __repr__(self) -> str:
        return f"<step {self.name} ({self.reference})>"

    def __reduce__(self) -> str:
        return str(vars(self)["__qualname__"])  # pickled like the function it replaces: by name

    def __deepcopy__(self, memo: Any) -> Step[P, R]:
        return self

    __copy__ = None


class Partial:
    """A step with some of its arguments fixed, waiting for the lists to run over."""

    def __init__(self, step: Step[..., Any], kwargs: Mapping[str, Any]) -> None:
        self._step = step
        self._kwargs = kwargs

    def expand(self, /, **lists: Any) -> Any:
        if not lists:
            raise PipelineInvalid(
                f"{self._step.name}.expand() is given nothing to run over.", hint="For example: .expand(batch=batches)"
            )
        trace = current()
        if trace is not None:
            return trace.call(self._step, (), self._kwargs, lists)
        if "airflow.sdk" in sys.modules:
            task = _airflow_task(self._step, (), self._kwargs, lists)
            if task is not None:
                return task
        from itertools import product

        function = self._step.callable
        combinations = product(*lists.values())
        return [function(**self._kwargs, **dict(zip(lists, values, strict=True))) for values in combinations]


def _airflow_task(
    step: Step[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], mapped: Mapping[str, Any] | None
) -> Any:
    """The task that the call makes if a ``with DAG(...)`` block is open, else None.

    Named by string, because the core never imports Airflow; asked only in processes that have imported it.
    """
    from importlib import import_module

    return import_module("windsock.operators.steps").task_for_step(step, args, kwargs, mapped)


@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    function: type,
    /,
    *,
    config: Mapping[str, Any] | str | Path | None = ...,
    name: str | None = ...,
    outputs: Iterable[str] | None = ...,
    artifact: str | Mapping[str, str] | None = ...,
    **options: Any,
) -> Step[..., Any]: ...
@overload
def step(
    *,
    name: str | None = ...,
    outputs: Iterable[str] | None = ...,
    artifact: str | Mapping[str, str] | None = ...,
    retries: int | None = ...,
    retry_delay: float | timedelta | None = ...,
    timeout: float | timedelta | None = ...,
    resources: Resources | None = ...,
    compute: str | None = ...,
    stack: str | None = ...,
    pool: str | None = ...,
    cache: bool = ...,
    pickle: bool = ...,
    asset: bool = ...,
) -> Callable[[Callable[P, R]], Step[P, R]]: ...


def step(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    outputs: Iterable[str] | None = None,
    artifact: str | Mapping[str, str] | None = None,
    config: Any = None,
    **options: Any,
) -> Any:
    """Make a function, or a Component class with ``run``, a step. Bare, or with options.

    :param name: name of the step, default: the function's.
    :param outputs: names of several outputs, in the order of the returned tuple.
    :param artifact: name under which the output is stored (several outputs: a mapping), default ``pipeline.step``.
    :param config: configuration of a component: a mapping, or a YAML file next to the file of the caller.
    :param retries: how often it is tried again; safe, since a step that is killed leaves nothing half-written.
    :param retry_delay: seconds (or a timedelta) between tries.
    :param timeout: seconds (or a timedelta) after which it is stopped.
    :param resources: what it asks of the machine; see :class:`Resources`.
    :param compute: where it runs: a name under ``compute:`` of the stack.
    :param stack: the stack it runs on, if not the pipeline's.
    :param pool: Airflow pool that limits how many run at once.
    :param cache: take the outputs of an earlier run with the same code, parameters and inputs.
    :param pickle: allow outputs that only pickle can store.
    :param asset: make its outputs Airflow assets, on which other DAGs can be scheduled.
    """
    if isinstance(config, str) or hasattr(config, "__fspath__"):
        from pathlib import Path

        config = Path(sys._getframe(1).f_code.co_filename).parent / config

    def make(target: Any) -> Step[..., Any]:
        if isinstance(target, Step):
            target = target.function
        if not callable(target):
            raise PipelineInvalid(
                f"{target!r} is no function and cannot be a step.", hint="Use @step above a function."
            )
        if config is not None and not isinstance(target, type):
            raise PipelineInvalid(
                f"{target.__name__} is a function and takes no config.",
                hint="Give it parameters, or make it a Component.",
            )
        names = None if outputs is None else output_names(target.__name__, outputs)
        return Step(
            target,
            name=name,
            options=_options(target, options) if options else None,
            outputs=names,
            artifacts={(names or (SINGLE,))[0]: artifact} if isinstance(artifact, str) else artifact,
            config=config,
            fixed_name=name is not None,
        )

    return make if function is None else make(function)


def _options(target: Any, options: dict[str, Any]) -> StepOptions:
    known = StepOptions._fields
    for key in options:
        if key not in known:
            raise PipelineInvalid(
                f'Step "{target.__name__}" has no option "{key}".',
                hint=did_you_mean(key, [*known, "artifact", "config", "name", "outputs"]),
            )
    for key in ("retry_delay", "timeout"):
        if key in options:
            options[key] = _seconds(key, options[key])
    retries = options.get("retries")
    if retries is not None and (isinstance(retries, bool) or not isinstance(retries, int) or retries < 0):
        raise PipelineInvalid(f"retries={retries!r}: give a whole number that is not negative.")
    return StepOptions(**options)


def _seconds(name: str, value: Any) -> float | None:
    seconds = value.total_seconds() if hasattr(value, "total_seconds") else value
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds < 0:
        raise PipelineInvalid(f"{name}={value!r}: give seconds, or a timedelta.")
    return float(seconds)


def output_names(step: str, outputs: Iterable[str]) -> tuple[str, ...]:
    names = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    for name in names:
        if not name.isidentifier():
            raise PipelineInvalid(
                f'Step "{step}" has an output named {name!r}.', hint="Use a name that Python would take."
            )
    if len(set(names)) != len(names):
        from ..errors import DuplicateName

        raise DuplicateName(f'Step "{step}" has two outputs of the same name: {", ".join(names)}.')
    return names
