"""Deploying, rolling back and deleting: a deployer's work, and the record of who did it, when and why.

The record goes first to ``pending``, by compare-and-set, so that two people who deploy at once do not both believe
that they won; after the deployer is done it says what is true: ``ready`` with the new version, or again the old one
when the new one did not become ready and the old one serves on. A process that dies in between leaves ``pending``;
deploying again goes on from there.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..errors import AliasNotFound, Conflict, DeploymentFailed, DeploymentNotFound, WindsockError
from ..security.signatures import require_signature
from .base import DeploymentRequest

if TYPE_CHECKING:
    from ..artifacts.store import ArtifactStore
    from ..metadata import Metadata
    from ..metadata.deployments import Deployment
    from ..metadata.models import ModelVersion
    from .base import Deployer, DeploymentState

logger = logging.getLogger(__name__)


def deploy(
    *,
    metadata: Metadata,
    deployer: Deployer,
    store: ArtifactStore,
    name: str,
    model: str,
    version: int | None = None,
    alias: str | None = None,
    actor: str,
    reason: str | None = None,
    stack: str | None = None,
    action: str | None = None,
) -> Deployment:
    """Serve a version of a model (or the one that holds ``alias``; by default the latest) as ``name``.

    Idempotent: what is served already is left alone, and healed if its deployer says that it needs it. Raises
    ``ModelNotFound``, ``AliasNotFound``, ``DeploymentFailed``, ``Conflict`` when somebody else changes the deployment
    at the same time; and, where signatures are required, ``SignatureMissing`` and ``SignatureInvalid``.
    """
    wanted = _resolve(metadata, model, version, alias)
    _require_signature(wanted, deployer, store)
    present = metadata.deployments.find(name)
    if present is not None and present.model != model:
        raise DeploymentFailed(
            f'Deployment "{name}" serves the model "{present.model}", not "{model}".',
            hint=f"Choose another name, or end it first: windsock deployment delete {name}",
            deployment=name,
        )
    if present is not None and present.phase == "ready" and present.version == wanted.version:
        state = deployer.deploy(_request(name, wanted, store))
        if state.url == present.url:
            return present
    pending = _put(
        metadata,
        present,
        wanted,
        name=name,
        flavor=deployer.flavor,
        stack=stack,
        actor=actor,
        reason=reason,
        action=action or ("deploy" if present is None or present.version != wanted.version else "redeploy"),
    )
    try:
        state = deployer.deploy(_request(name, wanted, store))
    except BaseException as error:
        _restore(metadata, deployer, present, pending, actor=actor, error=error)
        raise
    try:
        return _finish(metadata, pending, state, actor)
    except Conflict:
        _yield_to_the_winner(metadata, deployer, store, name)
        raise


def roll_back(
    *,
    metadata: Metadata,
    deployer: Deployer,
    store: ArtifactStore,
    name: str,
    version: int | None = None,
    actor: str,
    reason: str | None = None,
) -> Deployment:
    """Serve the version that was served before (or ``version``) again. Raises like :func:`deploy`.

    Rolling back twice comes back to where it began: the version left is then the previous one.
    """
    present = metadata.deployments.get(name)
    target = version if version is not None else present.previous_version
    if target is None:
        raise DeploymentFailed(
            f'Deployment "{name}" has served no version before {present.version}.',
            hint=f"Name one: windsock deployment rollback {name} --version N",
            deployment=name,
        )
    return deploy(
        metadata=metadata,
        deployer=deployer,
        store=store,
        name=name,
        model=present.model,
        version=target,
        actor=actor,
        reason=reason,
        stack=present.stack,
        action="roll_back",
    )


def delete(*, metadata: Metadata, deployer: Deployer, name: str, actor: str, reason: str | None = None) -> None:
    """End a deployment; its history stays. Raises ``DeploymentNotFound`` when neither record nor server exists."""
    present = metadata.deployments.find(name)
    if present is None:
        deployer.describe(name)  # a server without a record is ended as well; neither is an error
    deployer.delete(name)
    if present is not None:
        try:
            metadata.deployments.delete(name, actor=actor, reason=reason)
        except DeploymentNotFound:
            logger.info('deployment "%s" was deleted by somebody else meanwhile', name)


def _resolve(metadata: Metadata, model: str, version: int | None, alias: str | None) -> ModelVersion:
    if version is not None and alias is not None:
        held = metadata.models.get(model, alias=alias)
        if held.version != version:
            raise AliasNotFound(
                f'Alias "{alias}" of "{model}" points at version {held.version}, not at {version}.',
                hint="Name the version or the alias, not both.",
            )
    return metadata.models.get(model, version=version, alias=alias)


def _require_signature(wanted: ModelVersion, deployer: Deployer, store: ArtifactStore) -> None:
    """What was signed is what metadata say here; that the content is that, the server verifies by its digest."""
    if deployer._context is None:
        return
    signature = require_signature(
        wanted,
        store=store,
        settings=deployer.context.settings,
        credentials=deployer.context.credentials,
        required=bool(getattr(deployer.config, "require_signatures", False)),
    )
    if signature is not None:
        logger.info(
            "%s version %d was signed by %s with key %s",
            wanted.model,
            wanted.version,
            signature.signed_by,
            signature.key,
        )


def _request(name: str, wanted: ModelVersion, store: ArtifactStore) -> DeploymentRequest:
    return DeploymentRequest(
        name=name,
        model=wanted.model,
        version=wanted.version,
        artifact=wanted.artifact,
        store=store,
        input_schema=wanted.input_schema,
        example=wanted.example,
    )


def _put(
    metadata: Metadata,
    present: Deployment | None,
    wanted: ModelVersion,
    *,
    name: str,
    flavor: str,
    stack: str | None,
    actor: str,
    reason: str | None,
    action: str,
) -> Deployment:
    from ..metadata.deployments import Deployment

    if present is None:
        previous = None
    else:
        previous = present.version if present.version != wanted.version else present.previous_version
    record = Deployment(
        name=name,
        model=wanted.model,
        version=wanted.version,
        previous_version=previous,
        phase="pending",
        url=present.url if present is not None else None,
        flavor=flavor,
        stack=stack or (present.stack if present is not None else None),
        handle=present.handle if present is not None else {},
    )
    expected = present.revision if present is not None else None
    return metadata.deployments.put(record, expected_revision=expected, actor=actor, reason=reason, action=action)


def _finish(metadata: Metadata, pending: Deployment, state: DeploymentState, actor: str) -> Deployment:
    """Record that the version is served. Raises ``Conflict`` if somebody else took the record over meanwhile."""
    done = pending.model_copy(update={"phase": "ready", "url": state.url, "handle": dict(state.handle)})
    return metadata.deployments.put(done, expected_revision=pending.revision, actor=actor, action="ready")


def _yield_to_the_winner(metadata: Metadata, deployer: Deployer, store: ArtifactStore, name: str) -> None:
    """Somebody deployed at the same time and has the record; but of the two servers, this process's came last."""
    winner = metadata.deployments.find(name)
    if winner is not None and winner.phase in ("pending", "ready"):
        wanted = metadata.models.get(winner.model, version=winner.version)
        deployer.deploy(_request(name, wanted, store))


def _restore(
    metadata: Metadata,
    deployer: Deployer,
    present: Deployment | None,
    pending: Deployment,
    *,
    actor: str,
    error: BaseException,
) -> None:
    """Say in the record what is true after a failure: the old version serves on, or nothing does."""
    why = str(error).split("\n", 1)[0]
    truth = pending.model_copy(update={"phase": "failed"})
    if present is not None:
        try:
            looked = deployer.describe(pending.name)
        except WindsockError:
            looked = None
        if looked is not None and looked.phase in ("ready", "degraded") and looked.version is not None:
            before = present.previous_version if looked.version == present.version else present.version
            truth = present.model_copy(
                update={"phase": "ready", "version": looked.version, "previous_version": before, "url": looked.url}
            )
    try:
        metadata.deployments.put(
            truth, expected_revision=pending.revision, actor=actor, reason=why, action="deploy_failed"
        )
    except Conflict:
        logger.warning('deployment "%s" was changed by somebody else while it failed', pending.name)
