"""ASGI apps on a server of their own: ``python rest_app.py APP PORT WORKERS LOOP``. See ``rest_lab.py``.

``windsock`` is the app that the API server mounts; who calls is not asked: everybody is a service that may do
everything. ``empty`` answers every call with an empty page, and starts in a second.
"""

from __future__ import annotations

import sys
from typing import Any


def windsock() -> Any:
    from fastapi import FastAPI
    from windsock.plugins.api.app import build_app
    from windsock.provider.metadata.rest.access import Caller

    async def anybody(*_: Any) -> Caller:
        return Caller("service", "the tests")

    app = FastAPI()
    app.mount("/windsock", build_app(anybody))
    return app


def empty() -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            while (await receive()).get("more_body"):
                pass
            body = b'{"items": [], "next": null}'
            headers = [(b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return app


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(
        f"rest_app:{sys.argv[1]}",
        factory=True,
        host="127.0.0.1",
        port=int(sys.argv[2]),
        workers=int(sys.argv[3]),
        loop=sys.argv[4],
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_keep_alive=120,  # as Airflow's
    )
