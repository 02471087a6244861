"""The Airflow plugin: entries for the UI, a listener, and an API that is built when it is first asked.

Airflow loads this module in every process, each task included, so it imports nothing but Airflow's plugin class. The
API is mounted as an ASGI callable that builds the FastAPI app on the first request it gets, in the API server alone.
"""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from .. import __version__
from .listener import RunListener

PREFIX = "/windsock"
# No leading slash: Airflow may be served below a path of its own. The version makes browsers fetch a new bundle.
_BUNDLE = f"windsock/static/windsock.js?v={__version__}"


class _LazyApp:
    """An ASGI app that is imported and built on its first request."""

    _app: ClassVar[Any] = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if _LazyApp._app is None:
            from .api.app import build_app

            _LazyApp._app = build_app()
        await _LazyApp._app(scope, receive, send)


def _page(name: str, destination: str, route: str, **more: Any) -> dict[str, Any]:
    """An entry of the bundle: it sets a global of that name (plugins/app/src/main.tsx)."""
    return {"name": name, "bundle_url": _BUNDLE, "destination": destination, "url_route": route, **more}


class WindsockPlugin(AirflowPlugin):
    """Windsock in the Airflow UI: a page of its own, and a lineage tab on every DAG and run."""

    name = "windsock"
    # Airflow's base class declares these as instance variables, and looks them up on the class.
    fastapi_apps: list[Any] = [{"app": _LazyApp(), "url_prefix": PREFIX, "name": "windsock"}]  # noqa: RUF012
    # Of two entries with the same route Airflow drops one without a word, also if they are on different kinds of page.
    react_apps: list[Any] = [  # noqa: RUF012
        _page("Windsock", "nav", "windsock", category="browse"),
        _page("Windsock Lineage", "dag", "windsock-lineage"),
        _page("Windsock Lineage", "dag_run", "windsock-run-lineage"),
    ]
    listeners: list[Any] = [RunListener()]  # noqa: RUF012
