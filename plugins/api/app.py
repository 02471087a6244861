"""The API behind Windsock's pages: JSON, read-only, mounted in Airflow's API server below ``/windsock``.

Airflow does not guard what a plugin mounts, so this app does: no route may be added without a permission, and building
the app fails if one is (:func:`_assert_guarded`). Static files are public, as Airflow's own are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import auth_manager_from_app
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles

from ...provider.errors import (
    AliasNotFound,
    ArtifactNotFound,
    DeploymentNotFound,
    MetadataUnavailable,
    ModelNotFound,
    NotPermitted,
    RecordNotFound,
    SchemaOutdated,
    StackNotFound,
    WindsockError,
)
from . import artifacts, deployments, drift, lineage, models, runs, stacks
from .access import GUARDS

_STATUS = {
    AliasNotFound: 404,
    ArtifactNotFound: 404,
    DeploymentNotFound: 404,
    ModelNotFound: 404,
    RecordNotFound: 404,
    StackNotFound: 404,
    NotPermitted: 403,
    MetadataUnavailable: 503,
    SchemaOutdated: 503,
}


def build_app() -> FastAPI:
    """The app. Raises ``RuntimeError`` if a route is open to everybody."""
    app = FastAPI(title="Windsock", docs_url=None, redoc_url=None, openapi_url=None)
    # A mounted app has a state of its own, in which Airflow's dependencies would not find the auth manager.
    app.dependency_overrides[auth_manager_from_app] = get_auth_manager
    app.add_exception_handler(WindsockError, _explain)
    for noun in (artifacts, deployments, drift, lineage, models, runs, stacks):
        app.include_router(noun.router, prefix="/api")
    _assert_guarded(app)
    app.mount("/static", StaticFiles(directory=Path(__file__).parents[1] / "static"))
    return app


async def _explain(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, WindsockError)
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 400)
    return JSONResponse({"error": type(error).__name__, "detail": error.message, "hint": error.hint}, status)


def _assert_guarded(app: FastAPI) -> None:
    for route in app.routes:
        if isinstance(route, APIRoute) and not any(_is_guard(one) for one in route.dependant.dependencies):
            raise RuntimeError(f"{route.path} has no guard: give its router or the route one of plugins/api/access.py.")


def _is_guard(dependant: Any) -> bool:
    return dependant.call in GUARDS
