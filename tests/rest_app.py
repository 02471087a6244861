"""Windsock's plugin app on a server of its own: ``python rest_app.py PORT WORKERS``. See ``rest_lab.py``.

It is the app that the API server mounts. Who calls is not asked: everybody is a service that may do everything.
"""

from __future__ import annotations

import sys
from typing import Any

from fastapi import FastAPI
from windsock.plugins.api.app import build_app
from windsock.plugins.api.callers import caller_of
from windsock.provider.metadata.rest.access import Caller


def make() -> Any:
    plugin = build_app()
    plugin.dependency_overrides[caller_of] = lambda: Caller("service", "the tests")
    app = FastAPI()
    app.mount("/windsock", plugin)
    return app


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(
        "rest_app:make",
        factory=True,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        workers=int(sys.argv[2]),
        loop=sys.argv[3] if len(sys.argv) > 3 else "auto",
        log_level="warning",
        access_log=False,
    )
