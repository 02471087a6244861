"""``windsock run`` and ``windsock dag``: run a pipeline here, or show what Airflow would get."""

from __future__ import annotations

import json
import sys
import traceback
from contextlib import nullcontext
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import PipelineInvalid, StepFailed, WindsockError, did_you_mean
from .main import noun, single
from .output import Format, Output, StackName, aside, emit, facts, group, state, table, write
from .session import session

if TYPE_CHECKING:
    from types import ModuleType

    from ..compiler.plan import DagPlan, TaskPlan
    from ..pipelines.pipeline import Pipeline
    from ..pipelines.spec import PipelineSpec

run_app = single()
dag_app = noun("Show and check what a pipeline compiles to.")


class Drawing(str, Enum):
    TEXT = "text"
    MERMAID = "mermaid"
    JSON = "json"


Target = Annotated[str, typer.Argument(help="module:pipeline, file.py:pipeline or pipeline.yaml", show_default=False)]
Parameters = Annotated[
    list[str] | None, typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="A parameter; may be repeated.")
]


@run_app.command()
def run(
    ctx: typer.Context,
    *,
    target: Target,
    parameter: Parameters = None,
    stack: StackName = None,
    cache: Annotated[bool, typer.Option(help="Take earlier outputs of unchanged steps.")] = True,
    output: Output = Format.TEXT,
) -> None:
    """Run a pipeline in this process, without a scheduler."""
    from ..runtime.runner import run_pipeline
    from ..stack import Stack

    here = session(ctx)
    pipeline = load_target(target)
    values = read_parameters(_spec(pipeline), parameter or [])
    settings = here.settings if cache else replace(here.settings, step_cache=False)
    chosen = Stack.load(stack or pipeline.stack, settings=settings, credentials=here.credentials)
    try:
        with aside() if output is Format.JSON else nullcontext():
            result = run_pipeline(pipeline, {**pipeline.bound, **values}, stack=chosen, progress=output is Format.TEXT)
    except WindsockError:
        raise
    except (Exception, SystemExit) as error:  # a step that calls sys.exit() must not choose our exit code
        failure = _failure(pipeline.name, error)
        if failure is None:  # not in a step: a mistake of ours
            raise
        raise failure from error
    emit(
        {
            "pipeline": result.pipeline,
            "run_id": result.run_id,
            "seconds": result.seconds,
            "states": result.states,
            "metrics": result.metrics,
            "outputs": result.outputs,
        },
        output,
        lambda: group(
            table(
                [
                    (state(found), step, _made(result.outputs.get(step, {})), result.metrics.get(step) or "")
                    for step, found in result.states.items()
                ],
                "state",
                "step",
                "made",
                "metrics",
            ),
            "",
            f"{result.pipeline}/{result.run_id} took {result.seconds:.2f} s.",
        ),
    )


def _made(outputs: dict[str, Any]) -> str:
    refs = [ref for given in outputs.values() for ref in (given if isinstance(given, list) else [given])]
    shown = [f"{ref['artifact']}@{ref['version']}" for ref in refs[:3]]
    return ", ".join(shown) + (f" and {len(refs) - 3} more" if len(refs) > 3 else "")


def _failure(pipeline: str, error: BaseException) -> StepFailed | None:
    """What a step raised, with the line of the user's own code that it came from; None if it came from no such code."""
    at = _own_frame(error)
    if at is None:
        return None
    return StepFailed(
        f"{type(error).__name__}: {error} ({at.filename}, line {at.lineno}, in {at.name})",
        hint=f"What ran before it is kept: windsock runs show {pipeline}. The traceback: --debug",
    )


def _own_frame(error: BaseException) -> traceback.FrameSummary | None:
    """Where an exception left the user's own code: neither ours, nor a library's."""
    library = str(Path(__file__).parents[1])
    strangers = (library, sys.prefix, sys.base_prefix, "<frozen")
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(strangers)]
    return frames[-1] if frames else None


@dag_app.command("show")
def show(
    ctx: typer.Context,
    target: Target,
    drawing: Annotated[Drawing, typer.Option("--format", help="How to draw it.")] = Drawing.TEXT,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """The tasks that Airflow would get."""
    plan = _plan(ctx, load_target(target), stack)
    if drawing == Drawing.MERMAID and output is Format.TEXT:
        write(_mermaid(plan))
        return
    rows = [_row(task) for task in plan.tasks]
    emit(
        {
            "pipeline": plan.spec.name,
            "digest": plan.spec.digest,
            "stack": plan.stack,
            "parameters": {
                p.name: {"type": p.type, "default": p.default, "required": p.required} for p in plan.spec.parameters
            },
            "tasks": rows,
        },
        Format.JSON if drawing == Drawing.JSON else output,
        lambda: group(
            facts(
                {
                    "pipeline": plan.spec.name,
                    "digest": plan.spec.digest,
                    "stack": plan.stack,
                    "parameters": {p.name: "required" if p.required else p.default for p in plan.spec.parameters},
                }
            ),
            "",
            table(
                [
                    (r["task"], r["kind"], r["compute"] or "", ", ".join(r["after"]), r["outputs"], r["settings"] or "")
                    for r in rows
                ],
                "task",
                "kind",
                "compute",
                "after",
                "outputs",
                "settings",
            ),
        ),
    )


def _plan(ctx: typer.Context, pipeline: Pipeline, stack: str | None) -> DagPlan:
    from ..compiler.compile import compile_pipeline
    from ..stack import Stack

    described = Stack.describe(stack or pipeline.stack, settings=session(ctx).settings)
    return compile_pipeline(_spec(pipeline), described)


def _spec(pipeline: Pipeline) -> PipelineSpec:
    with aside():  # a YAML pipeline imports the modules of its steps now
        return pipeline.spec


def _row(task: TaskPlan) -> dict[str, Any]:
    return {
        "task": task.task_id,
        "kind": task.kind,
        "operator": task.operator,
        "compute": task.compute,
        "after": _after(task),
        "outputs": [o.name for o in task.step.outputs] if task.step and task.kind == "step" else [],
        "settings": dict(task.settings or {}),
        "function": task.step.function if task.step else None,
    }


def _after(task: TaskPlan) -> list[str]:
    from ..compiler.compile import sources

    mapped = [task.items] if isinstance(task.items, str) else []
    return list(dict.fromkeys([*sources(task), *mapped, *task.upstream]))


def _mermaid(plan: DagPlan) -> str:
    ids = {task.task_id: f"t{i}" for i, task in enumerate(plan.tasks)}
    shapes = {"step": '["{}"]', "condition": '{{"{}"}}', "fan_out": '[/"{}"/]'}
    lines = ["flowchart LR"]
    lines += [f"  {ids[t.task_id]}{shapes[t.kind].format(t.task_id)}" for t in plan.tasks]
    for task in plan.tasks:
        lines += [f"  {ids[name]} --> {ids[task.task_id]}" for name in _after(task) if name in ids]
        lines += [f"  {ids[task.task_id]} -.-> {ids[name]}" for name in task.skips if name in ids]
    return "\n".join(lines) + "\n"


@dag_app.command("validate")
def validate(
    ctx: typer.Context,
    targets: Annotated[list[str], typer.Argument(help="Files, modules or module:pipeline.", show_default=False)],
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Compile every pipeline of the targets; exit code 1 if one cannot be."""
    rows = [row for target in targets for row in _validated(ctx, target, stack)]
    failed = [row for row in rows if row["error"]]
    emit(
        rows,
        output,
        lambda: table(
            [
                (
                    state("failed" if r["error"] else "ok"),
                    r["target"],
                    r["pipeline"] or "",
                    r["error"] or f"{r['tasks']} tasks",
                )
                for r in rows
            ],
            "",
            "target",
            "pipeline",
            "result",
        ),
    )
    if failed:
        raise typer.Exit(1)


def _validated(ctx: typer.Context, target: str, stack: str | None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    try:
        pipelines = _load_all(target)
        if not pipelines:
            raise PipelineInvalid(f"{target} defines no pipeline.")
    except Exception as error:  # noqa: BLE001  a file under test may raise anything, and the others still count
        return [{"target": target, "pipeline": None, "tasks": 0, "error": _told(error)}]
    for pipeline in pipelines:
        row: dict[str, Any] = {"target": target, "pipeline": pipeline.name, "tasks": 0, "error": None}
        try:
            row["tasks"] = len(_plan(ctx, pipeline, stack).tasks)
        except Exception as error:  # noqa: BLE001  as above
            row["error"] = _told(error)
        rows.append(row)
    return rows


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, WindsockError) else f"{type(error).__name__}: {error}"


# ------------------------------------------------------------------------------------------------- finding pipelines


def load_target(target: str) -> Pipeline:
    """``module:name``, ``file.py:name``, a YAML file; or a module or file that has just one pipeline.

    Raises ``PipelineInvalid``, ``PipelineFileInvalid``.
    """
    found = _load_all(target)
    if len(found) != 1:
        names = sorted(pipeline.name for pipeline in found)
        raise PipelineInvalid(
            f"{target} has {'several pipelines' if found else 'no pipeline'}.",
            hint=f"Choose one: {', '.join(f'{target}:{name}' for name in names)}" if found else None,
        )
    return found[0]


def _load_all(target: str) -> list[Pipeline]:
    from ..pipelines.pipeline import Pipeline

    if target.endswith((".yaml", ".yml")):
        from ..pipelines.yaml import load_pipeline

        _importable(Path.cwd())
        return [load_pipeline(target)]
    place, _, name = target.partition(":")
    module = _module(place)
    if not name:
        own = {id(v): v for v in vars(module).values() if isinstance(v, Pipeline)}
        return [p for p in own.values() if p.function is None or p.function.__module__ == module.__name__] or list(
            own.values()
        )
    found = getattr(module, name, None)
    if not isinstance(found, Pipeline):
        known = [key for key, value in vars(module).items() if isinstance(value, Pipeline)]
        what = "is no pipeline" if found is not None else "is not there"
        raise PipelineInvalid(f"{target}: {name} {what}.", hint=did_you_mean(name, known))
    return [found]


def _module(place: str) -> ModuleType:
    """Import a module by name, or by file. The working directory counts, as for ``python -m``."""
    _importable(Path.cwd())
    if place.endswith(".py"):
        return _file_module(place)
    if not all(part.isidentifier() for part in place.split(".")):
        raise PipelineInvalid(f'"{place}" is neither a module nor a .py or .yaml file.', hint=_TARGET_HINT)
    return _import(place, place)


_TARGET_HINT = "Write module:pipeline, path/to/file.py:pipeline or path/to/pipeline.yaml."


def _file_module(place: str) -> ModuleType:
    path = Path(place).absolute()
    if not path.is_file():
        raise PipelineInvalid(f"{place} is not there.", hint=f"Check the path; the working directory is {Path.cwd()}.")
    if "." in path.stem:
        raise PipelineInvalid(f"{place} cannot be imported: a module has no dot in its name.", hint="Rename the file.")
    _importable(path.parent)
    module = _import(path.stem, place)
    found = getattr(module, "__file__", None)
    if found is None or not path.samefile(found):
        raise PipelineInvalid(
            f'{place} cannot be imported: another module has the name "{path.stem}" ({found or "built in"}).',
            hint="Rename the file, or name the module with its package: package.module:pipeline",
        )
    return module


def _import(module: str, shown: str) -> ModuleType:
    """Raises ``PipelineInvalid`` when it is not there; also when it is and breaks, with the line that did."""
    from importlib import import_module

    try:
        with aside():
            return import_module(module)
    except WindsockError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise PipelineInvalid(
                f'There is no module "{error.name}" on the Python path, nor in {Path.cwd()}.',
                hint="Run it from the folder that holds the module, or name its file: path/to/file.py:pipeline",
            ) from None
        hint = f'Install the package that holds "{error.name}" into this environment, or add its folder to PYTHONPATH.'
        raise PipelineInvalid(_broken(shown, error), hint=hint) from error
    except (Exception, SystemExit) as error:  # a module of the user's may raise anything
        raise PipelineInvalid(_broken(shown, error), hint="Correct it there. The traceback: --debug") from error


def _broken(shown: str, error: BaseException) -> str:
    at = _own_frame(error)
    if isinstance(error, SyntaxError):  # it did not run: it names its line itself
        return f"{shown} cannot be imported: {type(error).__name__}: {error}"
    where = f" ({at.filename}, line {at.lineno})" if at else ""
    return f"{shown} cannot be imported: {type(error).__name__}: {error}{where}"


def _importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def read_parameters(spec: PipelineSpec, given: list[str]) -> dict[str, Any]:
    """``["learning_rate=0.1"]`` as values: text where the parameter is a ``str``, else JSON if it reads as JSON."""
    types = {parameter.name: parameter.type for parameter in spec.parameters}
    values: dict[str, Any] = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--parameter")
        values[name] = text if types.get(name) == "str" else _value(text)
    return values


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(text, text)
