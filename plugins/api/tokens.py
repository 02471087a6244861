"""Tokens for tasks: issued to a task instance that proves to be the one, and read back.

A token names the task instance and its rights, and lives ten minutes. How a task proves itself is told in
``hooks/tokens.py``, how tokens are signed in ``plugins/signing.py``.
"""

from __future__ import annotations

import hmac
import json
import logging
import time
from typing import Any
from uuid import UUID

from airflow.configuration import conf
from airflow.models.taskinstance import TaskInstance
from airflow.state import TaskScope, get_state_backend
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from jwt import ExpiredSignatureError, InvalidTokenError, decode
from starlette.concurrency import run_in_threadpool

from ...hooks.tokens import claim_digest, claim_key
from ...provider.errors import SettingInvalid, TokenInvalid, did_you_mean
from ...provider.metadata.rest.access import Caller, Task
from ...provider.metadata.rest.methods import READ, SCOPES
from ..signing import AUDIENCE, OF_THE_SCHEDULER, SCHEDULER, VALID_FOR, sign, validator

log = logging.getLogger(__name__)


def is_windsocks(token: str) -> bool:
    """Whether a token says that it is for Windsock, and not for Airflow. Nothing is proved by that."""
    if token in _known:
        return True
    try:
        return decode(token, options={"verify_signature": False}).get("aud") == AUDIENCE
    except InvalidTokenError:
        return False


def issue_for_claim(task_instance: UUID, claim: str) -> dict[str, Any]:
    """A token for the task instance in whose state store the claim's digest stands.

    Works once a claim. Raises ``TokenInvalid``; its message does not tell which of the conditions failed.
    """
    digest = claim_digest(claim)
    key = claim_key(digest)
    with create_session() as session:
        found = session.get(TaskInstance, task_instance)
        if found is not None and found.state == TaskInstanceState.RUNNING:
            scope = TaskScope(
                dag_id=found.dag_id, run_id=found.run_id, task_id=found.task_id, map_index=found.map_index
            )
            backend = get_state_backend()
            written = backend.get(scope, key, session=session)
            if written is not None and hmac.compare_digest(str(json.loads(written)), digest):
                backend.delete(scope, key, session=session)
                return _issue(found)
    log.warning("A token was asked for with a claim that does not stand, for task instance %s.", task_instance)
    raise TokenInvalid(
        "That is no claim of a running task.",
        hint="The task may have ended, or been replaced by a retry; the claim may have been used before.",
    )


async def issue_again(token: str) -> dict[str, Any]:
    """A new token for the holder of one that is still valid, if its task still runs. Raises ``TokenInvalid``."""
    return await run_in_threadpool(_issue_again, await _claims(token))


def _issue_again(claims: dict[str, Any]) -> dict[str, Any]:
    with create_session() as session:
        found = session.get(TaskInstance, UUID(str(claims.get("ti"))))
        if found is None or found.state != TaskInstanceState.RUNNING:
            raise TokenInvalid("The task of this token does not run any more.")
        return _issue(found)


async def read_token(token: str) -> Caller:
    """Who holds the token; one that was found good is not verified again while it lives. Raises ``TokenInvalid``."""
    known = _known.get(token)
    if known is not None and time.time() < known[1]:
        return known[0]
    claims = await _claims(token)
    caller = _caller(claims)
    if len(_known) >= _MANY:
        _known.clear()
    _known[token] = caller, float(claims["exp"])
    return caller


_known: dict[str, tuple[Caller, float]] = {}
_MANY = 4096


def _caller(claims: dict[str, Any]) -> Caller:
    if claims.get("sub") == SCHEDULER:
        return Caller("service", "the scheduler", OF_THE_SCHEDULER)
    try:
        task = Task(
            claims["dag_id"], claims["run_id"], claims["task_id"], int(claims["map_index"]), int(claims["try_number"])
        )
        return Caller("task", f"task {task}", frozenset(claims["scopes"]), claims["actor"], task)
    except (KeyError, TypeError, ValueError):
        raise TokenInvalid("The token is for Windsock, and does not say for which task.") from None


def task_scopes() -> frozenset[str]:
    """What tasks may do: ``[windsock] task_scopes``. Raises ``SettingInvalid``."""
    text = conf.get("windsock", "task_scopes", fallback=None)
    if not text:
        return frozenset(SCOPES)
    asked = {one.strip() for one in text.split(",") if one.strip()}
    if unknown := sorted(asked - set(SCOPES)):
        raise SettingInvalid(
            f"[windsock] task_scopes names {unknown[0]!r}, which is no right.", hint=did_you_mean(unknown[0], SCOPES)
        )
    return frozenset(asked | {READ})


def _issue(found: TaskInstance) -> dict[str, Any]:
    user = found.dag_run.triggering_user_name
    claims = {
        "sub": "task",
        "ti": str(found.id),
        "dag_id": found.dag_id,
        "run_id": found.run_id,
        "task_id": found.task_id,
        "map_index": found.map_index,
        "try_number": found.try_number,
        "actor": f"user:{user}" if user else f"dag:{found.dag_id}",
        "scopes": sorted(task_scopes()),
    }
    return {"token": sign(claims), "expires_in": VALID_FOR}


async def _claims(token: str) -> dict[str, Any]:
    try:
        return dict(await validator().avalidated_claims(token))
    except ExpiredSignatureError:
        raise TokenInvalid(
            "The token has expired.", hint="A running task gets a new one by itself; ask again."
        ) from None
    except (InvalidTokenError, ValueError):
        raise TokenInvalid(
            "The token is not one that this Airflow has signed for Windsock.",
            hint="API servers of one installation share [api_auth] jwt_secret, and clocks agree.",
        ) from None
