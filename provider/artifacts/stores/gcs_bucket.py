"""Google Cloud Storage's requests (its JSON API), by gcsfs's session and credentials.

A big blob is sent as objects below ``uploads/``, which are then composed into one. Each part is named by its own
digest, so an interrupted upload is gone on with by looking which parts are there, and writers of different bytes under
one key cannot mix them up.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

from ..digests import digest_bytes, hex_of
from .transfers import UploadLost, status_of

_WRITER = "windsock-writer"
_COMPOSE = 32
"""How many objects one request composes: a limit of the service."""


class GcsBucket:
    """Requests to one bucket. ``uploads`` is the prefix for parts of blobs that are being sent."""

    most_parts = _COMPOSE**3

    def __init__(self, filesystem: Any, name: str, uploads: str) -> None:
        self._filesystem = filesystem
        self._name = name
        self._uploads = uploads
        # gcsfs would retry by itself, for minutes, and without a word; retries are the store's own.
        method = type(filesystem)._request
        self._request = getattr(method, "__wrapped__", method)

    async def call(self, method: str, path: str, **arguments: Any) -> tuple[Any, bytes]:
        """One request: headers and body. 404 is ``FileNotFoundError``, 412 ``FileExistsError`` (by gcsfs)."""
        url = f"{self._filesystem._location}{path}"
        _, headers, _, body = await self._request(self._filesystem, method, url, **arguments)
        return headers, body

    def _object(self, key: str) -> str:
        return f"/storage/v1/b/{quote(self._name)}/o/{quote(key, safe='')}"

    async def size(self, key: str) -> int:
        _, body = await self.call("GET", self._object(key), fields="size")
        return int(json.loads(body)["size"])

    async def get(self, key: str, start: int, stop: int) -> tuple[bytes, int]:
        wanted = {"Range": f"bytes={start}-{stop - 1}"}
        try:
            headers, body = await self.call("GET", f"/download{self._object(key)}", alt="media", headers=wanted)
        except Exception as error:
            if status_of(error) == 416:  # no byte there: the blob is empty
                return b"", await self.size(key)
            raise
        total = headers.get("Content-Range", "").rpartition("/")[2]
        return body, int(total) if total.isdigit() else len(body)

    async def put(self, key: str, data: bytes, *, create: bool, writer: str | None = None) -> None:
        about = {"name": key, **({"metadata": {_WRITER: writer}} if writer else {})}
        boundary = f"windsock-{hashlib.blake2b(data, digest_size=16).hexdigest()}"
        head = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(about)}\r\n"
            f"--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        )
        await self.call(
            "POST",
            f"/upload/storage/v1/b/{quote(self._name)}/o",
            uploadType="multipart",
            ifGenerationMatch="0" if create else None,
            headers={"Content-Type": f"multipart/related; boundary={boundary}"},
            data=b"".join((head.encode(), data, f"\r\n--{boundary}--\r\n".encode())),
        )

    async def writer(self, key: str) -> str | None:
        _, body = await self.call("GET", self._object(key), fields="metadata")
        found: str | None = (json.loads(body).get("metadata") or {}).get(_WRITER)
        return found

    async def delete(self, key: str) -> None:
        await self.call("DELETE", self._object(key))

    async def page(self, prefix: str, token: str | None, limit: int = 1000) -> tuple[list[str], str | None]:
        found, token = await self._list(prefix, token, limit, "name")
        return [item["name"] for item in found], token

    async def upload(self, key: str, parts: int) -> GcsUpload:
        folder = f"{self._uploads}{digest_bytes(key.encode()).partition(':')[2][:32]}/"
        there: set[str] = set()
        token = None
        while True:
            found, token = await self.page(folder, token)
            there.update(found)
            if token is None:
                return GcsUpload(self, key, folder, there)

    async def sweep(self, prefix: str, seconds: float) -> int:
        before = datetime.now(timezone.utc) - timedelta(seconds=seconds)
        old: list[str] = []
        token = None
        while True:
            found, token = await self._list(self._uploads, token, 1000, "name,timeCreated")
            old += [
                i["name"] for i in found if datetime.fromisoformat(i["timeCreated"].replace("Z", "+00:00")) < before
            ]
            if token is None:
                break
        for key in old:
            with suppress(FileNotFoundError):
                await self.delete(key)
        return len(old)

    async def compose(self, key: str, parts: list[str], *, create: bool) -> None:
        wanted = {"sourceObjects": [{"name": part} for part in parts], "destination": {"contentType": _BINARY}}
        condition = "0" if create else None
        await self.call("POST", f"{self._object(key)}/compose", json=wanted, ifGenerationMatch=condition)

    async def _list(self, prefix: str, token: str | None, limit: int, fields: str) -> tuple[list[Any], str | None]:
        _, body = await self.call(
            "GET",
            f"/storage/v1/b/{quote(self._name)}/o",
            prefix=prefix,
            pageToken=token,
            maxResults=str(limit),
            fields=f"items({fields}),nextPageToken",
        )
        answer = json.loads(body)
        return answer.get("items", []), answer.get("nextPageToken")


_BINARY = "application/octet-stream"


class GcsUpload:
    """Parts below ``folder``, then composed, 32 at a time."""

    def __init__(self, bucket: GcsBucket, key: str, folder: str, there: set[str]) -> None:
        self._bucket, self._key, self._folder, self._there = bucket, key, folder, there
        self._sent: dict[int, str] = {}

    async def part(self, number: int, data: bytes) -> None:
        name = f"{self._folder}{number:05}-{hex_of(digest_bytes(data))}"
        if name not in self._there:
            with suppress(FileExistsError):
                await self._bucket.put(name, data, create=True)
        self._sent[number] = name

    async def finish(self, *, create: bool) -> None:
        parts = [self._sent[number] for number in sorted(self._sent)]
        made = list(parts)
        try:
            while len(parts) > _COMPOSE:
                groups = [parts[start : start + _COMPOSE] for start in range(0, len(parts), _COMPOSE)]
                parts = []
                for group in groups:
                    name = f"{self._folder}composed-{hex_of(digest_bytes(json.dumps(group).encode()))}"
                    await self._bucket.compose(name, group, create=False)
                    parts.append(name)
                made += parts
            await self._bucket.compose(self._key, parts, create=create)
        except FileNotFoundError as error:
            raise UploadLost(str(error)) from error
        await self._remove(made)

    async def abort(self) -> None:
        await self._remove(list(self._sent.values()))

    async def _remove(self, names: list[str]) -> None:
        for name in names:
            with suppress(FileNotFoundError):
                await self._bucket.delete(name)
