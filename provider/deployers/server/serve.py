"""Serving in the foreground: ``windsock serve churn``, for a look, a container, or another supervisor."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

from ...errors import DeploymentFailed, NotPermitted
from ..local import is_loopback
from ..sockets import bind_public
from . import logs
from .loading import describe_store
from .process import run
from .settings import Limits, Release

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ...artifacts.store import ArtifactStore
    from ...predictions.writer import LogSettings


def serve(
    artifact: Mapping[str, Any],
    *,
    store: ArtifactStore,
    home: Path,
    model: str = "model",
    version: int = 0,
    input_schema: Mapping[str, Any] | None = None,
    example: list[Any] | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    allow_anonymous: bool = False,
    allow_pickle: bool = False,
    limits: Limits | None = None,
    log: LogSettings | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> int:
    """Serve one model in this process until SIGINT or SIGTERM; returns the exit status (0, or 3: not loaded).

    ``log=None`` logs no predictions. ``on_ready`` is called with the URL. Nothing is recorded in the metadata: a
    served model that should be watched is a deployment. Raises ``NotPermitted`` for a public host without a token.
    """
    if not (is_loopback(host) or token or allow_anonymous):
        raise NotPermitted(
            f"Serving on {host} would let other machines ask the model without a token.",
            hint="Give a token, or say that everybody may ask (--allow-anonymous).",
        )
    try:
        public = bind_public(host, port, shared=False)
    except OSError as error:
        raise DeploymentFailed(
            f"Cannot listen on {host} port {port}: {error.strerror or error}.", hint="Choose another --port."
        ) from None
    url = f"http://{f'[{host}]' if ':' in host else host}:{public.getsockname()[1]}"
    release = Release(
        deployment=f"serve-{model}",
        model=model,
        version=version,
        artifact=dict(artifact),
        store=describe_store(store),
        home=str(home) if log is not None else tempfile.gettempdir(),
        input_schema=input_schema,
        example=example,
        allow_pickle=allow_pickle,
        limits=limits or Limits(),
        log=log,
    )
    logs.configure()
    return run(release, public, token=token, on_ready=(lambda: on_ready(url)) if on_ready else None, store=store)
