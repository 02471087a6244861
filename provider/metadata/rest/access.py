"""Who calls, and what they may do: rights by scope, and beyond it only what is theirs.

- Everybody who may call may read everything of the metadata.
- A task writes its own run and the steps of that run (it may find one in the spool that another attempt left), and
  nothing in another's name: a step run or a run that it names must be of its run. Models, deployments and drift are
  shared by all DAGs, and opened by scope.
- A person writes no run that Airflow made, only those of ``pipeline.run()``.
- History and audit name who the server knows: a person under their own name; a task under its DAG's or under that of
  who triggered it. Whom else it names (who answered an approval) stands there as said by the task.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ...errors import NotPermitted, RecordNotFound
from ..keys import run_key, step_run_key
from ..models import NewModelVersion
from ..records import Record
from .methods import READ, SCOPES, Method

if TYPE_CHECKING:
    from ..store import Metadata

LOCAL_RUN = "local__"
"""How the run id of a pipeline begins that ran without Airflow."""


@dataclass(frozen=True)
class Task:
    """A task instance that Airflow vouches for."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int

    def __str__(self) -> str:
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        return f"{self.dag_id}.{self.task_id}{index}"

    @property
    def run_key(self) -> str:
        return run_key(self.dag_id, self.run_id)

    @property
    def key(self) -> str:
        return step_run_key(self.dag_id, self.run_id, self.task_id, self.map_index, self.try_number)


@dataclass(frozen=True)
class Caller:
    """Who calls. ``actor`` is the name that the server knows them by; a service says itself for whom it acts."""

    kind: Literal["task", "user", "service"]
    name: str
    scopes: frozenset[str] = field(default=frozenset(SCOPES))
    actor: str | None = None
    task: Task | None = None

    def permit(self, method: Method, arguments: dict[str, Any], metadata: Metadata) -> dict[str, Any]:
        """The arguments as they may be used. Raises ``NotPermitted``."""
        scope = method.access.scope
        if scope not in self.scopes:
            raise NotPermitted(
                f'{self.name} may not call {method.path}: that takes the right "{scope}".',
                hint=f"It has: {', '.join(sorted(self.scopes)) or 'none'}. Rights of tasks: [windsock] task_scopes; "
                "of people: their role in Airflow.",
                scope=scope,
            )
        if scope == READ or self.kind == "service":
            return arguments
        self._check_identity(method, arguments)
        for name, value in arguments.items():
            self._check_keys(method, {name: value}, metadata)
            if isinstance(value, Record):
                self._check_keys(method, {key: getattr(value, key, None) for key in _KEYS}, metadata)
        return self._signed(method, arguments)

    def _check_identity(self, method: Method, arguments: dict[str, Any]) -> None:
        """A step or a run that is written by its names."""
        for value in arguments.values():
            start = getattr(value, "start", value)
            if hasattr(start, "dag_id"):
                self._check_run(method, start.dag_id, start.run_id)
        if {"dag_id", "run_id"} <= arguments.keys():
            self._check_run(method, arguments["dag_id"], arguments["run_id"])

    def _check_run(self, method: Method, dag_id: str, run_id: str) -> None:
        if self.task is not None:
            own = (dag_id, run_id) == (self.task.dag_id, self.task.run_id)
        else:
            own = run_id.startswith(LOCAL_RUN)
        if not own:
            raise self._not_own(method, f"{dag_id}, run {run_id}")

    def _check_keys(self, method: Method, values: dict[str, Any], metadata: Metadata) -> None:
        """A run or a step run that is named by its key."""
        for name, kind in _KEYS.items():
            key = values.get(name)
            if isinstance(key, str) and not self._owns(kind, key, metadata):
                raise self._not_own(method, f"{name} {key}")

    def _owns(self, kind: str, key: str, metadata: Metadata) -> bool:
        if self.task is not None and key in (self.task.key, self.task.run_key):
            return True
        try:
            run = metadata.runs.step(key).run if kind == "step_run" else key
            if self.task is not None:
                return run == self.task.run_key
            return metadata.runs.get_by_key(run).run_id.startswith(LOCAL_RUN)
        except RecordNotFound:
            return False

    def _not_own(self, method: Method, what: str) -> NotPermitted:
        return NotPermitted(
            f"{self.name} may not call {method.path} for {what}: it is not its own.",
            hint="A task writes its own run and steps only."
            if self.kind == "task"
            else "Runs of DAGs are written by their tasks. Runs of pipeline.run() may be written by people.",
        )

    def _signed(self, method: Method, arguments: dict[str, Any]) -> dict[str, Any]:
        signed = dict(arguments)
        if "actor" in method.signature.parameters:
            signed["actor"] = self._actor(arguments.get("actor"))
        for name, value in signed.items():
            if isinstance(value, NewModelVersion):
                signed[name] = value.model_copy(update={"created_by": self._actor(value.created_by)})
        return signed

    def _actor(self, said: str | None) -> str:
        known = self.actor or self.name
        if said is None or self.task is None:
            return known
        return said if said in (known, f"dag:{self.task.dag_id}") else f"{said} (said by {self.task})"


_KEYS = {"run": "run", "step_run": "step_run", "producer": "step_run"}
