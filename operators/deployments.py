"""Deploying models and rolling back, as Airflow tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..hooks.actors import in_words, run_reason
from ..hooks.assets import deployment_asset, emit, outlet
from .base import WindsockOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from ..provider.metadata.deployments import Deployment


class DeployModelOperator(WindsockOperator):
    """Serves the version that an alias points to, and returns when the server is ready.

    Idempotent: a deployment that already serves the version is left alone. The version served before keeps answering
    until the new one is ready, and stays if the new one never is (``DeploymentFailed``). Emits
    ``deployment_asset(deployment)``. XCom: ``{"deployment", "model", "version", "previous", "url", "phase"}``.

    :param model: name of the model (templated).
    :param alias: alias to serve (templated); default ``production``.
    :param version: version number to serve, instead of ``alias`` (templated).
    :param deployment: name of the deployment (templated); default: the model's name.
    :param reason: why; default: the reason of the run.
    """

    template_fields: Sequence[str] = (
        "model",
        "alias",
        "version",
        "deployment",
        "reason",
        *WindsockOperator.template_fields,
    )

    def __init__(
        self,
        *,
        model: str,
        alias: str = "production",
        version: int | str | None = None,
        deployment: str | None = None,
        reason: str | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs["outlets"] = [*(kwargs.get("outlets") or ()), outlet("deployment", deployment or model)]
        super().__init__(**kwargs)
        self.model = model
        self.alias = alias
        self.version = version
        self.deployment = deployment or model
        self.reason = reason

    def execute(self, context: Context) -> dict[str, Any]:
        from ..provider.deployers.deployments import deploy

        stack = self.loaded_stack
        before = stack.metadata.deployments.find(self.deployment)
        deployed = deploy(
            name=self.deployment,
            metadata=stack.metadata,
            deployer=stack.deployer,
            store=stack.artifact_store,
            model=self.model,
            alias=self.alias if self.version in (None, "") else None,
            version=int(self.version) if self.version not in (None, "") else None,  # type: ignore[arg-type]
            actor=self.actor(context),
            reason=self.reason or in_words(run_reason(context)),
            stack=stack.name,
        )
        return _announce(self, deployed, before, context)


class RollbackDeploymentOperator(WindsockOperator):
    """Serves the version again that was served before the present one. Emits ``deployment_asset(deployment)``.

    XCom: ``{"deployment", "model", "version", "previous", "url", "phase"}``.

    :param deployment: name of the deployment (templated).
    :param version: version to go back to (templated); default: the one before the present.
    :param reason: why (templated); default: the reason of the run.
    """

    template_fields: Sequence[str] = ("deployment", "version", "reason", *WindsockOperator.template_fields)

    def __init__(
        self, *, deployment: str, version: int | str | None = None, reason: str | None = None, **kwargs: Any
    ) -> None:
        kwargs["outlets"] = [*(kwargs.get("outlets") or ()), outlet("deployment", deployment)]
        super().__init__(**kwargs)
        self.deployment = deployment
        self.version = version
        self.reason = reason

    def execute(self, context: Context) -> dict[str, Any]:
        from ..provider.deployers.deployments import roll_back

        stack = self.loaded_stack
        before = stack.metadata.deployments.get(self.deployment)
        deployed = roll_back(
            name=self.deployment,
            metadata=stack.metadata,
            deployer=stack.deployer,
            store=stack.artifact_store,
            version=int(self.version) if self.version not in (None, "") else None,  # type: ignore[arg-type]
            actor=self.actor(context),
            reason=self.reason or in_words(run_reason(context)),
        )
        return _announce(self, deployed, before, context)


class DeleteDeploymentOperator(WindsockOperator):
    """Stops a deployment and frees what it holds. Its history stays. Idempotent.

    :param deployment: name of the deployment (templated).
    """

    template_fields: Sequence[str] = ("deployment", *WindsockOperator.template_fields)

    def __init__(self, *, deployment: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deployment = deployment

    def execute(self, context: Context) -> None:
        from ..provider.deployers.deployments import delete

        stack = self.loaded_stack
        delete(name=self.deployment, metadata=stack.metadata, deployer=stack.deployer, actor=self.actor(context))


def _announce(
    operator: WindsockOperator, deployed: Deployment, before: Deployment | None, context: Context
) -> dict[str, Any]:
    facts = {
        "deployment": deployed.name,
        "model": deployed.model,
        "version": deployed.version,
        "previous": deployed.previous_version,
        "url": deployed.url,
        "phase": deployed.phase,
    }
    operator.log.info("%s serves %s version %s at %s", deployed.name, deployed.model, deployed.version, deployed.url)
    if before is None or before.revision != deployed.revision:
        emit(context, deployment_asset(deployed.name), {"kind": "deployment", **facts})
    return facts
