"""A Google Cloud Storage emulator that keeps its promises: gcp-storage-emulator, and what the contract needs beyond it.

It serves requests in parallel, one connection a thread, and honours ``ifGenerationMatch``, ``ifGenerationNotMatch``
and ``ifMetagenerationMatch``, atomically: 412, as the service answers, where the package writes regardless. Lists have
pages, and uploads in parts (``multipart/related``) may hold any bytes. Run: ``python gcs_server.py PORT``.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from functools import partial
from http import server as http
from typing import Any
from urllib.parse import parse_qs, urlsplit

from gcp_storage_emulator import server as emulator
from gcp_storage_emulator import storage as storages
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import objects

_LOCK = threading.RLock()
_ASKED = threading.local()


class PreconditionFailed(Exception):
    """The condition of a request does not hold."""


def _require(storage: Any, bucket: str, name: str) -> None:
    conditions: dict[str, str] = getattr(_ASKED, "conditions", {})
    if not conditions:
        return
    try:
        found = storage.get_file_obj(bucket, name)
    except NotFound:
        found = {"generation": 0, "metageneration": 0}
    for field in ("generation", "metageneration"):
        is_now = int(found.get(field) or 0)
        match = conditions.get(f"if{field.capitalize()}Match")
        other = conditions.get(f"if{field.capitalize()}NotMatch")
        if (match is not None and int(match) != is_now) or (other is not None and int(other) == is_now):
            raise PreconditionFailed(field)


def _guard(method: str) -> None:
    """A change of an object and the look at its generation before are one step."""
    change = getattr(storages.Storage, method)

    def guarded(self: Any, bucket: str, name: str, *arguments: Any, **options: Any) -> Any:
        with _LOCK:
            _require(self, bucket, name)
            return change(self, bucket, name, *arguments, **options)

    setattr(storages.Storage, method, guarded)


_handle = emulator.Router.handle


def _handle_conditionally(self: Any, method: str) -> Any:
    query = parse_qs(urlsplit(self._request_handler.path).query)
    _ASKED.conditions = {name: values[0] for name, values in query.items() if name.startswith("if")}
    try:
        return _handle(self, method)
    except PreconditionFailed:
        problem = {"reason": "conditionNotMet", "domain": "global", "message": "Precondition Failed"}
        body = json.dumps({"error": {"code": 412, "message": "Precondition Failed", "errors": [problem]}}).encode()
        handler = self._request_handler
        handler.send_response(412)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
        return None


def _list_in_pages(request: Any, response: Any, storage: Any, *_: Any, **__: Any) -> None:
    """``objects.list``, with ``maxResults`` and ``pageToken``, which the package ignores."""
    limit = int(request.query.get("maxResults", ["1000"])[0])
    after = request.query.get("pageToken", [""])[0]
    _list(request, response, storage)
    if response.status != 200:
        return
    answer = json.loads(response._content)
    found = [item for item in answer.get("items", []) if item["name"] > after]
    answer["items"] = found[:limit]
    if len(found) > limit:
        answer["nextPageToken"] = found[limit - 1]["name"]
    response.json(answer)


def _read_data(handler: Any, query: Any) -> Any:
    """A multipart upload by its own boundaries: the package's parser of mail rewrites line ends in binary content."""
    kind = handler.headers.get("Content-Type") or ""
    if not kind.startswith("multipart/related"):
        return _read(handler, query)
    raw = emulator._read_raw_data(handler)
    boundary = re.search(r'boundary="?([^";]+)"?', kind)
    assert boundary is not None
    head, _, rest = raw.partition(b"\r\n\r\n")[2].partition(f"\r\n--{boundary[1]}\r\n".encode())
    headers, _, content = rest.partition(b"\r\n\r\n")
    assert content.endswith(f"\r\n--{boundary[1]}--\r\n".encode())
    content = content[: -len(f"\r\n--{boundary[1]}--\r\n")]
    found = re.search(rb"Content-Type: *([^\r\n;]+)", headers)
    return {"meta": json.loads(head), "content": content, "content-type": found[1].decode() if found else None}


_list, objects.ls = objects.ls, _list_in_pages
_read, emulator._read_data = emulator._read_data, _read_data
emulator.HANDLERS = tuple(
    (path, {verb: _list_in_pages if call is _list else call for verb, call in verbs.items()})
    for path, verbs in emulator.HANDLERS
)
emulator.Router.handle = _handle_conditionally
for _method in ("create_file", "delete_file"):
    _guard(_method)


class Handler(emulator.RequestHandler):
    """Keeps connections open, as the service does, and says nothing."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        pass


class Server(http.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    import logging

    logging.disable(logging.CRITICAL)
    memory = storages.Storage(use_memory_fs=True)
    Server(("127.0.0.1", int(sys.argv[1])), partial(Handler, memory)).serve_forever()
