"""The metadata's own methods, for workers without database access: ``POST /metadata/v1/{noun}/{method}``.

This is a door and nothing else: what may be called, by whom, and in which form it travels is told in
``provider/metadata/rest``. The pages of the UI have their own routes, which show less.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool

from ...hooks.stacks import load_server_stack
from ...provider.errors import MetadataUnavailable, SchemaOutdated, TokenInvalid, WindsockError
from ...provider.metadata.rest import codec
from ...provider.metadata.rest.access import Caller
from ...provider.metadata.rest.methods import VERSION
from ...provider.metadata.rest.service import answer
from . import public
from .callers import BearerToken, Identify
from .tokens import issue_again, issue_for_claim

log = logging.getLogger(__name__)

router = APIRouter()

_STATUS = {TokenInvalid: 401, MetadataUnavailable: 503, SchemaOutdated: 503}


class Claim(BaseModel):
    """What a task proves itself with: see ``hooks/tokens.py``."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    task_instance: UUID
    claim: str


def proven_by_claim(claim: Claim) -> dict[str, Any]:
    """The guard of the one route that takes no token: issues one if the claim stands."""
    return issue_for_claim(claim.task_instance, claim.claim)


async def proven_by_token(token: BearerToken) -> dict[str, Any]:
    """Issues a new token for one that is still valid, while its task runs."""
    return await issue_again(token)


@router.post("/token")
def claim_token(issued: Annotated[dict[str, Any], Depends(proven_by_claim)]) -> dict[str, Any]:
    """``{"token", "expires_in"}`` for a running task."""
    return issued


@router.post("/token/renew")
def renew_token(issued: Annotated[dict[str, Any], Depends(proven_by_token)]) -> dict[str, Any]:
    return issued


PATH = f"/metadata/v{VERSION}/{{noun}}/{{method}}"


def endpoint(identify: Identify) -> Callable[[Request], Awaitable[Response]]:
    """Call one method; its arguments are the body, its result is the answer. ``identify`` says who asks.

    It is a plain route without FastAPI's dependencies, which an app with overrides analyses anew for each request: a
    millisecond of a call that takes two.
    """

    async def call(request: Request) -> Response:
        noun, method = request.path_params["noun"], request.path_params["method"]
        stack = request.query_params.get("stack")
        try:
            caller = await identify(request, noun, method)
            body = await _body(request)
            key = request.headers.get("Windsock-Key")
            content = await run_in_threadpool(_answer, caller, noun, method, body, key, stack)
        except (WindsockError, ValueError, TypeError, OverflowError) as error:
            return _problem(error, noun, method)
        headers = {}
        if request.headers.get("Windsock-Accept") == "gzip":
            content, packed = codec.pack(content)
            headers = {"Windsock-Encoding": "gzip"} if packed else {}
        return Response(content, media_type="application/json", headers=headers)

    return call


GUARDS = (proven_by_claim, proven_by_token)


def _answer(caller: Caller, noun: str, method: str, body: bytes, key: str | None, stack: str | None) -> bytes:
    return answer(load_server_stack(stack or None).metadata, caller, noun, method, body, key=key)


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > codec.LIMIT:
            raise codec.too_big()
        parts.append(part)
    body = b"".join(parts)
    return codec.unpack(body) if request.headers.get("Content-Encoding") == "gzip" else body


def _problem(error: Exception, noun: str, method: str) -> JSONResponse:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 400)
    if status == 503:
        log.warning("Windsock cannot answer %s.%s: %s", noun, method, error)
    form = codec.encode_error(error)
    if isinstance(error, WindsockError):
        form.update(public.problem(error))
    return JSONResponse(form, status)
