"""What must be true of a whole pipeline: names that exist, no cycle, exit handlers at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import PipelineInvalid, did_you_mean

if TYPE_CHECKING:
    from .spec import PipelineSpec, StepSpec


def check(spec: PipelineSpec) -> None:
    """Raises ``PipelineInvalid``. Types and arguments were checked while wiring, where the place is known."""
    spec.ordered()
    handlers = {step.name for step in spec.steps if step.teardown}
    if not handlers:
        return
    for step in spec.steps:
        if step.teardown and step.mapped:
            raise PipelineInvalid(
                f'Exit handler "{step.name}" runs over a list, which may never be made.',
                hint="Hand it the whole list, with a default.",
            )
        late = [name for name in step.upstream() if name in handlers]
        if late and not step.teardown:
            raise PipelineInvalid(
                f'Step "{step.name}" waits for exit handler "{late[0]}", which runs after everything else.',
                hint="Call that step a second time, outside on_exit, if its output is needed.",
            )
    if len(handlers) == len(spec.steps):
        raise PipelineInvalid(f'Pipeline "{spec.name}" has only exit handlers.', hint="Add a step that they follow.")


def ordered(spec: PipelineSpec) -> tuple[StepSpec, ...]:
    """The steps so that each comes after all that it waits for, otherwise as written.

    A step also waits for what the conditions around it look at. Raises ``PipelineInvalid``, showing the cycle.
    """
    waits = {step.name: _waits(spec, step) for step in spec.steps}
    done: set[str] = set()
    result: list[StepSpec] = []
    for step in spec.steps:
        if done.issuperset(waits[step.name]) and step.name not in done:  # as good as always
            done.add(step.name)
            result.append(step)
        elif step.name not in done:
            _visit(spec, step.name, waits, done, result)
    return tuple(result)


def _waits(spec: PipelineSpec, step: StepSpec) -> list[str]:
    names = step.upstream()
    for condition in spec.branch(step.condition):
        names += spec.conditions_by_name[condition].upstream()
    for name in names:
        if name not in spec.by_name:
            raise PipelineInvalid(
                f'Step "{step.name}" refers to step "{name}", which pipeline "{spec.name}" does not have.',
                hint=did_you_mean(name, spec.by_name),
            )
    return names


def _visit(spec: PipelineSpec, start: str, waits: dict[str, list[str]], done: set[str], result: list[StepSpec]) -> None:
    """Depth first without recursion: a chain of a thousand steps must not meet Python's limit."""
    path: dict[str, None] = {start: None}
    pending = [iter(waits[start])]
    while pending:
        name = next(pending[-1], None)
        if name is None:
            pending.pop()
            finished, _ = path.popitem()
            done.add(finished)
            result.append(spec.by_name[finished])
        elif name in path:
            names = list(path)
            cycle = [*names[names.index(name) :], name]
            raise PipelineInvalid(
                f'Pipeline "{spec.name}" goes in a circle: {" -> ".join(reversed(cycle))}.',
                hint="A step cannot wait for itself: remove one of these connections.",
                cycle=cycle,
            )
        elif name not in done:
            path[name] = None
            pending.append(iter(waits[name]))
