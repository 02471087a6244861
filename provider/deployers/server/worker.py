"""``python -m windsock.provider.deployers.server.worker FOLDER GENERATION FD``: what the supervisor starts.

The release is in ``FOLDER/release-GENERATION.json``; the listening socket is the inherited file descriptor ``FD``;
secrets (the bearer token, connections) are in the environment and nowhere else.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

from ..sockets import bind_private
from . import logs
from .process import run
from .settings import Release

TOKEN_VARIABLE = "WINDSOCK_SERVER_TOKEN"  # noqa: S105 - the name of the variable, not the token


def main(arguments: list[str]) -> int:
    folder, generation, fd = Path(arguments[0]), arguments[1], int(arguments[2])
    logs.configure()
    release = Release.from_dict(json.loads((folder / f"release-{generation}.json").read_text(encoding="utf-8")))
    public = socket.socket(fileno=fd)
    private = bind_private(folder, f"worker-{generation}.sock")
    try:
        return run(release, public, private=private, token=os.environ.pop(TOKEN_VARIABLE, None))
    finally:
        (folder / f"worker-{generation}.sock").unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
