"""``windsock serve``: one model version, served by this very process: for a container, or for a look."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import DeploymentFailed
from .main import single
from .output import StackName, say
from .references import model_version
from .session import session

app = single()


@app.command()
def serve(
    ctx: typer.Context,
    *,
    model: Annotated[
        str, typer.Argument(help="MODEL@VERSION or MODEL@ALIAS; the latest if left out.", show_default=False)
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8080,
    name: Annotated[
        str | None, typer.Option(help="Name of the deployment in the log.", show_default="serve.MODEL")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar="WINDSOCK_TOKEN", help="What clients must send as bearer token.", show_default=False),
    ] = None,
    log: Annotated[bool, typer.Option(help="Write the prediction log.")] = True,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Load a pickled model, which runs its code.")
    ] = False,
    stack: StackName = None,
) -> None:
    """Serve a model version in the foreground until Ctrl-C. It is no deployment: nothing is recorded or restarted."""
    from ..deployers.server import logs
    from ..deployers.server.loading import describe_store
    from ..deployers.server.process import run
    from ..deployers.server.settings import Limits, Release
    from ..deployers.sockets import bind_public
    from ..predictions.writer import LogSettings
    from ..security.signatures import require_signature

    here = session(ctx)
    loaded = here.stack(stack)
    version = model_version(loaded.metadata, model)
    require_signature(
        version,
        store=loaded.artifact_store,
        settings=here.settings,
        credentials=loaded.credentials,
        required=bool(getattr(loaded.deployer.config, "require_signatures", False)),
    )
    release = Release(
        deployment=name or f"serve.{version.model}",
        model=version.model,
        version=version.version,
        artifact=version.artifact,
        store=describe_store(loaded.artifact_store),
        home=str(here.settings.home),
        input_schema=version.input_schema,
        example=version.example,
        allow_pickle=allow_pickle,
        limits=Limits(),
        log=LogSettings() if log else None,
    )
    try:
        public = bind_public(host, port, shared=False)
    except OSError as error:
        raise DeploymentFailed(
            f"{host} port {port} cannot be listened on: {error.strerror}.",
            hint="Choose another: --port 0 takes any free one.",
        ) from None
    address = f"http://{host}:{public.getsockname()[1]}"
    logs.configure()
    status = run(
        release,
        public,
        token=token,
        on_ready=lambda: say(f"{version.model}@{version.version} answers at {address}/predict (Ctrl-C ends it)"),
        store=loaded.artifact_store,
    )
    if status != 0:
        raise typer.Exit(1)
