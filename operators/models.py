"""Registering, approving and promoting models, as Airflow tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator

from ..hooks.actors import in_words, run_reason
from ..hooks.assets import emit, model_asset, outlet
from ..hooks.stacks import StackHook
from ..provider.steps import register_model
from .base import WindsockOperator
from .calls import BuiltInStepOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class RegisterModelOperator(BuiltInStepOperator):
    """Registers a model that an earlier task produced, and points an alias at the new version.

    It is the step ``windsock.register_model`` as a task of your own DAG, so it is recorded with lineage, and a retry
    gives the same version. Emits ``model_asset(name)`` and ``model_asset(name, alias)``. XCom:
    ``{"output": Ref}`` of ``{"model", "version", "alias"}``.

    :param name: name of the model (templated).
    :param model: reference of the fitted model: ``{"output": Ref}`` of a step task's XCom, or a ``Ref`` (templated).
    :param metrics: numbers, or the reference of a step's output that holds them (templated).
    :param baseline: reference of the training rows; drift will be measured against them (templated).
    :param evaluation: reference of the held-out rows; gates compare versions on them (templated).
    :param target: column of ``baseline`` and ``evaluation`` that is predicted.
    :param alias: alias to point at the version; default ``candidate``.
    :param description: free text.
    """

    def __init__(
        self,
        *,
        name: str,
        model: Any,
        metrics: Any = None,
        baseline: Any = None,
        evaluation: Any = None,
        target: str | None = None,
        alias: str = "candidate",
        description: str | None = None,
        **kwargs: Any,
    ) -> None:
        arguments = {
            "model": model,
            "name": name,
            "metrics": metrics,
            "baseline": baseline,
            "evaluation": evaluation,
            "target": target,
            "alias": alias,
            "description": description,
        }
        kwargs["outlets"] = [*(kwargs.get("outlets") or ()), outlet("model", name)]
        super().__init__(function=register_model, arguments=arguments, **kwargs)

    def execute(self, context: Context) -> dict[str, Any] | None:
        outputs = super().execute(context)
        if outputs:
            facts = self.value(outputs)
            event = {"kind": "registration", **facts}
            emit(context, model_asset(facts["model"]), event)
            if facts["alias"]:
                emit(context, model_asset(facts["model"], facts["alias"]), event)
        return outputs


class PromoteModelOperator(WindsockOperator):
    """Moves an alias (a stage) to another version, if the version passes every gate.

    Idempotent, and safe against others: the alias moves only if it still points where it pointed when the gates were
    evaluated, otherwise ``PromotionConflict``. A version that fails a gate fails the task without retries
    (``GateFailed``), or skips what follows with ``skip_if_refused``. Emits ``model_asset(model, target)``.
    XCom: ``{"model", "version", "previous", "alias", "gates", "changed"}``.

    :param model: name of the model (templated).
    :param source: alias whose version is promoted (templated); default ``candidate``.
    :param version: version number to promote, instead of ``source`` (templated).
    :param target: alias to move (templated); default ``production``.
    :param gates: conditions, as ``windsock.provider.registry.gates`` objects or their JSON forms, for example
        ``[{"gate": "metric", "metric": "accuracy", "minimum": 0.9},
        {"gate": "better_than_current", "metric": "accuracy"}]``.
    :param reason: why; default: the reason of the run (drift, for example).
    :param skip_if_refused: skip downstream tasks instead of failing when a gate says no.
    """

    template_fields: Sequence[str] = (
        "model",
        "source",
        "version",
        "target",
        "gates",
        "reason",
        *WindsockOperator.template_fields,
    )
    template_fields_renderers = {"gates": "json"}  # noqa: RUF012 - Airflow's own declaration

    def __init__(
        self,
        *,
        model: str,
        source: str | None = None,
        version: int | str | None = None,
        target: str = "production",
        gates: Sequence[Any] = (),
        reason: str | None = None,
        skip_if_refused: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs["outlets"] = [*(kwargs.get("outlets") or ()), outlet("model", model, target)]
        super().__init__(**kwargs)
        self.model = model
        self.source = source
        self.version = version
        self.target = target
        self.gates = [gate if isinstance(gate, Mapping | str) else gate.to_dict() for gate in gates]
        self.reason = reason
        self.skip_if_refused = skip_if_refused

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

        from ..provider.errors import GateFailed
        from ..provider.metadata.keys import run_key

        ti = context["ti"]
        try:
            result = self.loaded_stack.model_registry.promote(
                self.model,
                version=int(self.version) if self.version not in (None, "") else None,  # type: ignore[arg-type]
                source=self.source or None,
                target=self.target,
                gates=self.gates,
                actor=self.actor(context),
                reason=self.reason or in_words(run_reason(context)),
                run=run_key(ti.dag_id, ti.run_id),
            )
        except GateFailed as error:
            refusal = AirflowSkipException if self.skip_if_refused else AirflowFailException
            raise refusal(str(error)) from error
        for outcome in result.gates:
            self.log.info("Gate %s", outcome)
        self.log.info("%s %s -> version %s (was %s)", self.model, self.target, result.version, result.previous)
        facts = result.to_dict()
        if result.changed:
            emit(context, model_asset(self.model, self.target), {"kind": "promotion", **facts})
        return facts


class ApproveModelOperator(ApprovalOperator):
    """Asks a person whether a model version may go on, on Airflow's own approval page.

    It is :class:`ApprovalOperator`: the task waits without a worker or triggerer slot, shows what the version is
    (metrics, what it would replace, where it comes from), and skips what follows when it is rejected. The decision is
    recorded in the audit trail of the model with who and when.

    :param model: name of the model (templated).
    :param alias: alias whose version is to be approved (templated); default ``candidate``.
    :param target: alias it would get (templated); default ``production``.
    :param stack: stack whose registry is asked; default: the active one.
    :param windsock_conn_id: connection of type ``windsock``.
    """

    template_fields: Sequence[str] = ("model", "alias", "target", "stack", *ApprovalOperator.template_fields)

    def __init__(
        self,
        *,
        model: str,
        alias: str = "candidate",
        target: str = "production",
        stack: str | None = None,
        windsock_conn_id: str | None = None,
        subject: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(subject=subject or f"Approve {model} for {target}?", **kwargs)
        self.model = model
        self.alias = alias
        self.target = target
        self.stack = stack
        self.windsock_conn_id = windsock_conn_id

    def execute(self, context: Context) -> Any:
        registry = StackHook(self.stack, self.windsock_conn_id).stack().model_registry
        candidate = registry.get(self.model, alias=self.alias)
        current = registry.find(self.model, alias=self.target)
        if self.body is None:
            self.body = describe_promotion(candidate, current, self.target)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        # First: when the answer is no, Airflow skips what follows by raising.
        if not event.get("error"):
            self._record(event)
        return super().execute_complete(context, event)

    def _record(self, event: Mapping[str, Any]) -> None:
        stack = StackHook(self.stack, self.windsock_conn_id).stack()
        version = stack.model_registry.get(self.model, alias=self.alias)
        # Nobody responds when the time is over and the defaults are taken.
        person = (event.get("responded_by_user") or {}).get("name")
        stack.metadata.audit.append(
            actor=f"user:{person}" if person else "airflow:timeout",
            action="approve" if event["chosen_options"] == [self.APPROVE] else "reject",
            subject_kind="model",
            subject=f"{self.model}@{version.version}",
            after={"target": self.target, "chosen": event["chosen_options"], "input": event.get("params_input") or {}},
        )


def describe_promotion(candidate: Any, current: Any, target: str) -> str:
    """Markdown for the approval page: the version, and its metrics beside those it would replace."""
    lines = [
        f"**{candidate.model}** version **{candidate.version}**, made {candidate.created_at:%Y-%m-%d %H:%M} UTC "
        f"by {candidate.created_by or 'unknown'}.",
        f"It would replace version {current.version} as **{target}**." if current else f"There is no **{target}** yet.",
        "",
    ]
    names = sorted({*candidate.metrics, *(current.metrics if current else ())})
    if names:
        lines += [f"| metric | version {candidate.version} | {target} now |", "|---|---|---|"]
        for name in names:
            before = current.metrics.get(name) if current else None
            lines.append(f"| {name} | {_number(candidate.metrics.get(name))} | {_number(before)} |")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
