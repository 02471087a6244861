"""What people type for a thing: ``churn@7``, ``churn@production``, ``dag/run``, ``artifact:churn.train@3``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import RecordNotFound, did_you_mean

if TYPE_CHECKING:
    from ..metadata.models import ModelVersion
    from ..metadata.runs import Run

NODE_KINDS = ("artifact", "deployment", "model", "run", "step_run")


def split(text: str) -> tuple[str, int | None, str | None]:
    """``name``, ``name@7`` or ``name@alias`` -> name, version, alias."""
    name, at, rest = text.rpartition("@")
    if not at:
        return text, None, None
    return (name, int(rest), None) if rest.isdigit() else (name, None, rest)


def model_version(metadata: Any, text: str) -> ModelVersion:
    """Raises ``ModelNotFound``, ``AliasNotFound``."""
    name, version, alias = split(text)
    found: ModelVersion = metadata.models.get(name, version=version, alias=alias)
    return found


def run(metadata: Any, text: str) -> Run:
    """``dag_id/run_id``, ``dag_id`` (its latest run) or the run's own id. Raises ``RecordNotFound``."""
    dag_id, slash, run_id = text.partition("/")
    found: Run
    if slash:
        found = metadata.runs.get(dag_id, run_id)
        return found
    if len(text) == 32 and set(text) <= set("0123456789abcdef"):
        found = metadata.runs.get_by_key(text)
        return found
    latest: Run | None = metadata.runs.find(dag_id)
    if latest is None:
        raise RecordNotFound(f'DAG "{dag_id}" has no recorded run.', hint="List them: windsock runs list")
    return latest


def node(metadata: Any, text: str) -> str:
    """The id of a lineage node. ``model:churn`` is the latest version, ``model:churn@production`` what the alias names.

    Raises ``RecordNotFound``, ``ModelNotFound``, ``AliasNotFound``, ``ArtifactNotFound``.
    """
    kind, colon, name = text.partition(":")
    if not colon or kind not in NODE_KINDS:
        raise RecordNotFound(
            f'"{text}" names nothing whose lineage could be shown.',
            hint="Write model:NAME@VERSION, artifact:NAME@VERSION, deployment:NAME, run:DAG/RUN or step_run:ID. "
            + (did_you_mean(kind, NODE_KINDS) if colon else ""),
        )
    if kind == "model":
        found = model_version(metadata, name)
        return f"model:{found.model}@{found.version}"
    if kind == "artifact":
        plain, version, _ = split(name)
        artifact = metadata.artifacts.get(plain, version)
        return f"artifact:{artifact.artifact}@{artifact.version}"
    if kind == "deployment":
        return f"deployment:{metadata.deployments.get(name).name}"
    return f"run:{run(metadata, name).id}" if kind == "run" else text
