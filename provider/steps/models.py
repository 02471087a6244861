"""Built-in steps: register, promote and deploy a model, inside a pipeline.

They are ordinary steps, so they are wired, conditioned and retried like any other. They run where the metadata are
(compute ``local``) and are never cached: what they do is change the registry, not compute a value. Each is idempotent,
so that the retry of a killed task does nothing twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import PromotionConflict
from ..pipelines.step import step

if TYPE_CHECKING:
    from ..artifacts.handle import Artifact
    from ..metadata import ModelVersion
    from ..monitoring.profile import DriftProfile
    from ..predictions.schema import InputSchema
    from ..runtime.context import StepContext


@step(cache=False, compute="local")
def register_model(
    model: Artifact[Any] | Any,  # Any, too: to a type checker, a pipeline hands in what another step returns
    name: str,
    *,
    metrics: dict[str, float] | None = None,
    baseline: Artifact[Any] | Any | None = None,
    evaluation: Artifact[Any] | Any | None = None,
    target: str | None = None,
    alias: str | None = "candidate",
    description: str | None = None,
) -> dict[str, Any]:
    """Make ``model`` the next version of ``name`` and point ``alias`` at it; returns model, version and alias.

    ``baseline`` is the table that the model was trained on: drift is measured against its profile, which is computed
    here, the model's own predictions included. ``evaluation`` is the table that a gate compares versions on. ``target``
    is the column of the true values in both. Input schema and example come from ``baseline``, or else from
    ``evaluation``; with neither the model is registered without them and cannot be monitored for drift.

    The retry of a killed task finds what it registered before. Raises ``ConfigurationError`` when the model does not
    fit the tables.
    """
    from ..registry.description import parameters_of, requirements_of
    from ..registry.models import check_alias

    current = _context()
    if alias:
        check_alias(alias)
    estimator = model.load()
    learned = _learn(name, estimator, baseline, evaluation, target)
    facts = {
        "metrics": {key: float(value) for key, value in (metrics or {}).items()},
        "parameters": parameters_of(estimator),
        "requirements": requirements_of(estimator),
        "input_schema": learned.schema.to_dict() if learned.schema else None,
        "example": learned.example,
        "baseline": _store(current, name, learned.profile) if learned.profile else None,
        "evaluation": evaluation.ref if evaluation is not None else None,
        "description": description,
    }
    version = _register(current, name, model.ref, facts)
    if alias:
        _point(current, version, alias)
    return {"model": name, "version": version.version, "alias": alias}


@step(cache=False, compute="local")
def promote_model(
    name: str,
    *,
    source: str = "candidate",
    target: str = "production",
    gates: list[dict[str, Any]] | None = None,
    reason: str | None = None,
) -> dict[str, Any]:
    """Move the alias ``target`` to the version that holds ``source``, if it passes all ``gates``.

    ``gates`` in their JSON form, for example ``[{"gate": "better_than_current", "metric": "accuracy"}]``. Returns
    model, version, previous, alias, changed and the gates' outcomes. Raises ``GateFailed``, ``PromotionConflict``.
    """
    from ..metadata import run_key

    current = _context()
    result = current.stack.model_registry.promote(
        name,
        source=source,
        target=target,
        gates=gates or (),
        actor=current.stack.settings.actor,
        reason=reason,
        run=run_key(current.run.dag_id, current.run.run_id),
    )
    for outcome in result.gates:
        current.logger.info("gate %s", outcome)
    return result.to_dict()


@step(cache=False, compute="local")
def deploy_model(name: str, *, alias: str = "production", deployment: str | None = None) -> dict[str, Any]:
    """Serve the version that holds ``alias`` as ``deployment`` (by default the model's name); returns its facts.

    Does nothing if it is served already. Raises ``DeploymentFailed`` when the server does not become ready; what was
    served before is then still served.
    """
    from ..deployers.deployments import deploy

    current = _context()
    stack = current.stack
    done = deploy(
        metadata=stack.metadata,
        deployer=stack.deployer,
        store=stack.artifact_store,
        name=deployment or name,
        model=name,
        alias=alias,
        actor=stack.settings.actor,
        reason=f"run {current.run.dag_id}/{current.run.run_id}",
        stack=stack.name,
    )
    return {"deployment": done.name, "model": done.model, "version": done.version, "phase": done.phase, "url": done.url}


class _Learned(NamedTuple):
    """What the data say of a model; all None without data."""

    schema: InputSchema | None = None
    example: list[dict[str, Any]] | None = None
    profile: DriftProfile | None = None


def _learn(
    name: str,
    estimator: Any,
    baseline: Artifact[Any] | None,
    evaluation: Artifact[Any] | None,
    target: str | None,
) -> _Learned:
    from ..predictions.schema import example_rows

    trained_on = baseline.load() if baseline is not None else None
    unseen = evaluation.load() if evaluation is not None else None
    rows = unseen if trained_on is None else trained_on
    if rows is None:
        return _Learned()
    schema = _schema(estimator, rows, target)
    profile = None if trained_on is None else _profile(name, estimator, trained_on, unseen, schema)
    return _Learned(schema, example_rows(rows, schema, n=1), profile)


def _schema(estimator: Any, rows: Any, target: str | None) -> InputSchema:
    from ..predictions.schema import InputSchema, infer_schema

    trained = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
    if trained and hasattr(rows, "columns") and all(name in rows.columns for name in trained):
        rows = rows[trained]  # other columns (an id, a date) need not be of a type that a request can carry
    return InputSchema.from_dict({**infer_schema(rows, target=target, model=estimator), "target": target})


def _profile(name: str, estimator: Any, trained_on: Any, unseen: Any, schema: InputSchema) -> DriftProfile:
    """What live data are compared with: the features as trained on, the predictions as on rows never seen.

    Without unseen rows the predictions are those on the training rows, better than none.
    """
    from dataclasses import replace

    from ..monitoring.profile import build_profile, edges_id
    from ..registry.baseline import input_table, output_table

    inputs = input_table(trained_on, schema)
    target = schema.target if schema.target in inputs.column_names else None
    told = build_profile(inputs, model_name=name, target=target)
    outputs = output_table(estimator, trained_on if unseen is None else unseen, schema)
    score = "score" if "score" in outputs.column_names else None
    answers = build_profile(outputs, prediction="prediction", score=score)
    columns = {**told.columns, **answers.columns}
    roles = {**told.roles, **answers.roles}
    return replace(told, columns=columns, roles=roles, edges_id=edges_id(columns, roles))


def _store(current: StepContext, name: str, profile: DriftProfile) -> dict[str, Any]:
    """Keep the profile as the artifact ``<model>.baseline`` and return its reference."""
    from ..artifacts.saving import save
    from ..metadata import NewArtifact

    stored = save(profile.to_bytes(), current.artifact_store)
    recorded = current.metadata.artifacts.record(
        NewArtifact(
            artifact=f"{name}.baseline",
            uri=stored.uri,
            digest=stored.digest,
            size=stored.size,
            type=stored.type,
            materializer=stored.materializer,
            metadata=dict(stored.metadata),
        ),
        producer=_step_run(current),
    )
    return recorded.ref()


def _register(current: StepContext, name: str, artifact: dict[str, Any], facts: dict[str, Any]) -> ModelVersion:
    from ..metadata import NewModelVersion, run_key

    run = current.run
    version = current.stack.model_registry.register(
        NewModelVersion(
            model=name,
            artifact=artifact,
            run=run_key(run.dag_id, run.run_id),
            step_run=_step_run(current),
            # Without the number of the try, so that a retry finds what the first one registered.
            source=f"{run.dag_id}/{run.run_id}/{run.task_id}/{run.map_index}",
            created_by=current.stack.settings.actor,
            **facts,
        )
    )
    current.logger.info('registered version %d of "%s"', version.version, name)
    return version


def _point(current: StepContext, version: ModelVersion, alias: str) -> None:
    """Move ``alias`` forward to ``version``; never back, as the late retry of an older run would."""
    from ..metadata import run_key

    registry = current.stack.model_registry
    while True:
        holder = registry.find(version.model, alias=alias)
        if holder is not None and holder.version >= version.version:
            return
        try:
            registry.move_alias(
                version.model,
                alias,
                version.version,
                expected=holder.version if holder else None,
                actor=current.stack.settings.actor,
                reason=f"registered by step {current.step}",
                run=run_key(current.run.dag_id, current.run.run_id),
            )
        except PromotionConflict:
            continue  # somebody registered at the same time: look again who is newer
        return


def _step_run(current: StepContext) -> str:
    from ..metadata import step_run_key

    run = current.run
    return step_run_key(run.dag_id, run.run_id, run.task_id, run.map_index, run.try_number)


def _context() -> StepContext:
    from ..runtime.context import context

    return context()
