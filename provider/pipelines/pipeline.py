"""Pipelines: functions that wire steps, and what can be done with the result."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import cached_property, update_wrapper
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ..errors import PipelineInvalid
from ..names import check_name
from .references import Condition, ParameterReference, node_of
from .trace import Trace, current

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .spec import PipelineSpec

T = TypeVar("T")


class Pipeline:
    """A named graph of steps. Make one with :func:`pipeline` or ``load_pipeline``.

    Immutable. It is wired when its :attr:`spec` is first asked for, once.
    """

    def __init__(
        self,
        function: Callable[..., Any] | None,
        *,
        name: str,
        stack: str | None = None,
        bound: Mapping[str, Any] | None = None,
        file: str | None = None,
        build: Callable[[], PipelineSpec] | None = None,
    ) -> None:
        if function is not None:
            update_wrapper(self, function)
        self.name = check_name("pipeline", name)
        self.function = function
        self.stack = stack
        self.bound: Mapping[str, Any] = dict(bound or {})
        """Parameters that :meth:`bind` has fixed."""
        self.file = file
        """The file it is written in."""
        self._build = build or self._trace

    @cached_property
    def spec(self) -> PipelineSpec:
        """The graph as data. Raises a ``PipelineError`` if it cannot be wired."""
        return self._build()

    def bind(self, **parameters: Any) -> Pipeline:
        """The same pipeline with some parameters fixed. In Airflow the values may be Jinja (``"{{ ds }}"``).

        Raises ``UnknownParameter``. The spec, and so the pipeline's version, stays the same.
        """
        bound = {**self.bound, **self.checked(parameters)}
        copy = Pipeline(
            self.function, name=self.name, stack=self.stack, bound=bound, file=self.file, build=lambda: self.spec
        )
        copy.__doc__ = self.__doc__
        return copy

    def checked(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """``parameters`` as JSON. Raises ``UnknownParameter``, ``TypeMismatch``, ``PipelineInvalid``."""
        from .parameters import check_values

        return check_values(self.spec, parameters)

    def run(self, *, stack: Any = None, **parameters: Any) -> Any:
        """Run in this process, without a scheduler: the developer's loop.

        ``stack`` is a name or a Stack, default: the pipeline's, else the active one. Returns a ``RunResult``. A
        pipeline that has a parameter called ``stack`` of its own binds it: ``churn.bind(stack=...).run()``.
        """
        from importlib import import_module

        run_pipeline = import_module("windsock.provider.runtime.runner").run_pipeline
        return run_pipeline(self, {**self.bound, **self.checked(parameters)}, stack=stack or self.stack)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        trace = current()
        if trace is None:
            raise PipelineInvalid(
                f'Pipeline "{self.name}" was called like a function.',
                hint=f"Run it with {self.name}.run(...), or make it a DAG: airflow_dag({self.name}), "
                f"airflow_task_group({self.name}.bind(...)).",
            )
        if self.function is None:
            raise PipelineInvalid(f'Pipeline "{self.name}" was loaded from YAML and cannot be called inside another.')
        from .parameters import bind_call

        values = bind_call(self, args, {**self.bound, **kwargs})
        with trace.inlined(self.name):
            return self.function(**values)

    def __repr__(self) -> str:
        return f"<pipeline {self.name}>"

    def __deepcopy__(self, memo: Any) -> Pipeline:
        return self

    def _trace(self) -> PipelineSpec:
        from .parameters import parameter_specs

        assert self.function is not None
        trace = Trace(self.name, parameter_specs(self.function))
        with trace.active():
            self.function(**{p.name: ParameterReference(trace, p.name, p.type) for p in trace.parameters})
        return trace.finish(stack=self.stack, module=self.function.__module__, doc=self.function.__doc__)


@overload
def pipeline(function: Callable[..., Any], /) -> Pipeline: ...
@overload
def pipeline(*, name: str | None = ..., stack: str | None = ...) -> Callable[[Callable[..., Any]], Pipeline]: ...


def pipeline(function: Any = None, /, *, name: str | None = None, stack: str | None = None) -> Any:
    """Make a function that calls steps a pipeline. Its parameters become the parameters of a run.

    :param name: default: the function's name.
    :param stack: the stack it runs on unless a run says otherwise; default: the active one.
    """

    def make(target: Callable[..., Any]) -> Pipeline:
        if not callable(target):
            raise PipelineInvalid(f"{target!r} is no function and cannot be a pipeline.")
        code = getattr(target, "__code__", None)
        return Pipeline(target, name=name or target.__name__, stack=stack, file=code and code.co_filename)

    return make if function is None else make(function)


@contextmanager
def when(condition: Any, *, name: str | None = None) -> Iterator[None]:
    """Run the steps of the block only if ``condition`` holds; all others run regardless.

    A step outside the block that needs an output of a skipped step is skipped too, unless that argument has a default.

    :param condition: a comparison of outputs and parameters, or an output that is true or false by itself.
    :param name: name of the condition in the graph, default ``when``, ``when_2``…
    """
    trace = current()
    if trace is None:
        raise PipelineInvalid("when() was used outside a pipeline.", hint="Put it into a function under @pipeline.")
    with trace.when(Condition.truth(condition), name and check_name("condition", name)):
        yield


def on_exit(call: T) -> T:
    """Make a step call an exit handler: it runs when everything else has ended, even if it failed.

    What it takes from other steps must have a default, used when that step did not finish. It does not change whether
    the run succeeded.
    """
    if current() is None:
        raise PipelineInvalid("on_exit() was used outside a pipeline.", hint="Put it into a function under @pipeline.")
    node = node_of(call)
    node.teardown = True
    node.condition = None
    return call


def caller_file(depth: int = 1) -> str:
    """The file of the code that called the caller."""
    return sys._getframe(depth + 1).f_code.co_filename
