"""Who calls the metadata over REST: a task with a token of Windsock's, or a person with one of Airflow's.

A token is taken from the ``Authorization`` header only, never from a cookie: no page that a person opens can call in
their name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import resolve_user_from_token
from fastapi import Depends, Header, HTTPException, Request
from starlette.concurrency import run_in_threadpool

from ...provider.errors import TokenInvalid
from ...provider.metadata.rest.access import Caller
from ...provider.metadata.rest.methods import READ, SCOPES, find_method
from .tokens import is_windsocks, read_token

_OF_DAGS = {"runs", "lineage", "pipelines", "audit"}
"""Nouns that tell of every DAG's runs: whoever reads them over REST must be allowed to read every DAG."""


Identify = Callable[[Request, str, str], Awaitable[Caller]]
"""Says who asks for a method of a noun. Raises ``TokenInvalid``, ``NotPermitted``."""


def bearer_token(authorization: Annotated[str, Header()] = "") -> str:
    kind, _, token = authorization.partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        raise TokenInvalid("A call of the metadata needs a token.", hint="Send it as Authorization: Bearer TOKEN.")
    return token.strip()


BearerToken = Annotated[str, Depends(bearer_token)]


async def caller_of(request: Request, noun: str, method: str) -> Caller:
    """Raises ``TokenInvalid``, and ``NotPermitted`` for a method that nobody may call over REST."""
    scope = find_method(noun, method).access.scope
    token = bearer_token(request.headers.get("Authorization", ""))
    if is_windsocks(token):
        return await read_token(token)
    try:
        user = await resolve_user_from_token(token)
    except HTTPException as error:
        raise TokenInvalid(f"Airflow does not take this token: {error.detail}.") from None
    scopes = await run_in_threadpool(_scopes_of, user, noun, scope)
    name = user.get_name()
    return Caller("user", f'user "{name}"', scopes, f"user:{name}")


def _scopes_of(user: BaseUser, noun: str, scope: str) -> frozenset[str]:
    """What Airflow's auth manager lets the person do, as far as this call asks: see ``access.py``."""
    manager = get_auth_manager()
    if scope == READ:
        allowed = manager.is_authorized_asset(method="GET", user=user) and (
            noun not in _OF_DAGS
            or manager.is_authorized_dag(method="GET", access_entity=DagAccessEntity.TASK_INSTANCE, user=user)
        )
        return frozenset({READ} if allowed else ())
    return frozenset(SCOPES if manager.is_authorized_asset(method="POST", user=user) else ())
