"""``python skewed.py URL HOME what…``: a worker whose clock is wrong (by libfaketime); prints JSON."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults_lab import run
from windsock.provider.runtime.spool import Spool
from windsock.provider.settings import Settings
from windsock.provider.stack import Stack


def main(url: str, home: str, what: str, *rest: str) -> Any:
    environ = {"WINDSOCK_HOME": home, "WINDSOCK_SQL_ALCHEMY_CONN": url, "WINDSOCK_METADATA_PATIENCE": "0.1"}
    stack = Stack.load("local", settings=Settings.load(environ=environ))
    if what == "load":
        return run(stack, "load", "r1", int(rest[0]), seed=int(rest[1])).outputs["output"]
    if what == "add":
        return run(stack, "add", rows=json.loads(rest[0])).outputs["output"]
    if what == "end":
        return stack.metadata.runs.end("shop", "r1", "success")
    if what == "sweep":
        with stack.artifact_store.stage() as path:
            path.touch()
        return None
    if what == "replay":
        return Spool(stack.artifact_store, "local").replay(stack.metadata).recorded
    return time.time()


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
