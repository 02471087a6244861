"""The server's own log: one JSON object a line on stderr, which the supervisor keeps in a file.

Requests are not logged one by one; the prediction log is the place for those. A model that fails on every request
must not fill a disk: of equal messages at most one in a second is written, with a count of those left out.
"""

from __future__ import annotations

import logging
import sys
import time

import orjson


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if left_out := getattr(record, "left_out", 0):
            entry["left_out"] = left_out
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(entry).decode()


class OnceASecond(logging.Filter):
    """Lets one record of each message template pass in a second."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[object, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        key = (record.name, record.msg)
        last, left_out = self._seen.get(key, (0.0, 0))
        if record.created - last < 1.0:
            self._seen[key] = (last, left_out + 1)
            return False
        self._seen[key] = (record.created, 0)
        record.left_out = left_out
        return True


def configure() -> None:
    """Send the whole process's log to stderr as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(OnceASecond())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
