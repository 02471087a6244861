"""``stack check``: every component proves itself with a live round trip, all at the same time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from .component import CheckResult
from .errors import WindsockError

if TYPE_CHECKING:
    from .stack import Stack


class ComponentCheck(NamedTuple):
    """One row of ``windsock stack check``. ``kind`` of a named compute is ``compute.<name>``."""

    kind: str
    flavor: str
    result: CheckResult
    seconds: float


def check_parts(stack: Stack, *, timeout: float) -> list[ComponentCheck]:
    """One thread a component. One that does not answer within ``timeout`` seconds is a failed row, not a hang.

    The threads are daemons because nothing can stop a client that waits on a dead host.
    """
    rows: dict[str, ComponentCheck] = {}
    parts = stack.parts()

    def prove(label: str, flavor: str) -> None:
        began = time.perf_counter()
        result = _prove(stack, label)
        rows[label] = ComponentCheck(label, flavor, result, time.perf_counter() - began)

    threads = [threading.Thread(target=prove, args=part, daemon=True, name=f"check-{part[0]}") for part in parts]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + timeout
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = CheckResult(ok=False, detail=f"no answer within {timeout:g} s", hint="Is the host reachable from here?")
    return [rows.get(label) or ComponentCheck(label, flavor, late, timeout) for label, flavor in parts]


def _prove(stack: Stack, label: str) -> CheckResult:
    try:
        result: CheckResult = stack.part(label).check()
    except WindsockError as error:
        return CheckResult(ok=False, detail=error.message, hint=error.hint)
    except Exception as error:  # noqa: BLE001  a third party's check may raise anything, and the others' rows still count
        return CheckResult(ok=False, detail=f"{type(error).__name__}: {error}")
    return result
