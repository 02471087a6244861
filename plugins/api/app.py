"""The API behind Windsock's pages: JSON, mounted in Airflow's API server below ``/windsock``.

Airflow does not guard what a plugin mounts, so this app does: no route may be added without a permission, and building
the app fails if one is (:func:`assert_guarded`). Static files are public, as Airflow's own are. Whatever goes wrong is
answered in one form: ``{"error", "detail", "hint"}``.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import auth_manager_from_app
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.routing import Route

from ...provider.errors import (
    AliasNotFound,
    ArtifactNotFound,
    Conflict,
    DeploymentNotFound,
    MetadataUnavailable,
    ModelNotFound,
    NotPermitted,
    RecordNotFound,
    SchemaOutdated,
    StackNotFound,
    StoreUnavailable,
    TokenInvalid,
    WindsockError,
)
from . import artifacts, audit, deployments, drift, lineage, metadata, metrics, models, public, runs, stacks
from .access import GUARDS as OF_THE_PAGES
from .callers import Identify, caller_of

log = logging.getLogger(__name__)

GUARDS = (*OF_THE_PAGES, *metadata.GUARDS)

_STATUS = {
    AliasNotFound: 404,
    ArtifactNotFound: 404,
    DeploymentNotFound: 404,
    ModelNotFound: 404,
    RecordNotFound: 404,
    StackNotFound: 404,
    TokenInvalid: 401,
    NotPermitted: 403,
    Conflict: 409,
    MetadataUnavailable: 503,
    SchemaOutdated: 503,
    StoreUnavailable: 503,
}


def build_app(identify: Identify = caller_of) -> FastAPI:
    """The app. ``identify`` says who calls the metadata. Raises ``RuntimeError`` if a route is open to everybody."""
    app = FastAPI(title="Windsock", docs_url=None, redoc_url=None, openapi_url=None)
    # A mounted app has a state of its own, in which Airflow's dependencies would not find the auth manager.
    app.dependency_overrides[auth_manager_from_app] = get_auth_manager
    app.add_exception_handler(WindsockError, _explain)
    app.add_exception_handler(RequestValidationError, _explain_request)
    app.add_exception_handler(HTTPException, _explain_status)
    app.add_exception_handler(Exception, _explain_nothing)
    for noun in (artifacts, audit, deployments, drift, lineage, metadata, metrics, models, runs, stacks):
        app.include_router(noun.router, prefix="/api")
    assert_guarded(app)
    app.router.routes.append(Route("/api" + metadata.PATH, metadata.endpoint(identify), methods=["POST"]))
    app.mount("/static", StaticFiles(directory=Path(__file__).parents[1] / "static"))
    return app


def assert_guarded(app: FastAPI) -> None:
    """Raises ``RuntimeError`` for a route that asks for no permission. Only static files may be open."""
    for route in app.routes:
        guarded = isinstance(route, APIRoute) and any(_is_guard(one) for one in route.dependant.dependencies)
        if not guarded:
            path = getattr(route, "path", repr(route))
            raise RuntimeError(f"{path} has no guard: give its router or the route one of plugins/api/access.py.")


def _is_guard(dependant: Any) -> bool:
    return dependant.call in GUARDS


async def _explain(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, WindsockError)
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 400)
    if status == 503:
        log.warning("Windsock cannot answer %s: %s", request.url.path, error)
    return JSONResponse(public.problem(error), status)


async def _explain_request(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()]
    return JSONResponse({"error": "BadRequest", "detail": "; ".join(problems), "hint": None}, 422)


async def _explain_status(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    name = {401: "NotLoggedIn", 403: "NotPermitted", 404: "NotFound", 405: "MethodNotAllowed"}.get(error.status_code)
    body = {"error": name or "HTTPError", "detail": str(error.detail), "hint": None}
    return JSONResponse(body, error.status_code, headers=error.headers)


async def _explain_nothing(_: Request, error: Exception) -> JSONResponse:
    """What nobody foresaw: the log of the API server has it, the answer does not."""
    body = {"error": "InternalError", "detail": "Windsock failed to answer.", "hint": "Read the API server's log."}
    return JSONResponse(body, 500)
