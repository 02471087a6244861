"""Azure Blob Storage's requests, by adlfs's own ``BlobServiceClient``.

A big blob is staged in blocks, which the service keeps beside the blob, invisible, until they are committed, and
removes after a week. A block's id is made from its digest, so an interrupted upload is gone on with by looking which
ids are there.
"""

from __future__ import annotations

import base64
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..digests import digest_bytes, hex_of
from .transfers import UploadLost, status_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_WRITER = "windsock_writer"
_PATIENCE = {"connection_timeout": 5, "read_timeout": 60, "retry_total": 0}
"""Retries are the store's own: those of the SDK begin with 15 seconds."""


@contextmanager
def _errors() -> Iterator[None]:
    from azure.core.exceptions import HttpResponseError

    try:
        yield
    except HttpResponseError as error:
        code = str(getattr(error, "error_code", "") or "")
        if code in ("BlobNotFound", "ContainerNotFound", "ResourceNotFound") or error.status_code == 404:
            raise FileNotFoundError(error.reason) from error
        if code in ("InvalidBlockList", "InvalidBlobOrBlock"):
            raise UploadLost(code) from error
        if code in ("BlobAlreadyExists", "ConditionNotMet") or error.status_code == 412:
            raise FileExistsError(code) from error
        raise


class AzureBucket:
    """Requests to one container."""

    most_parts = 50_000

    def __init__(self, filesystem: Any, name: str) -> None:
        self._container = filesystem.service_client.get_container_client(name)

    def blob(self, key: str) -> Any:
        return self._container.get_blob_client(key)

    async def size(self, key: str) -> int:
        return int((await self._properties(key)).size)

    async def get(self, key: str, start: int, stop: int) -> tuple[bytes, int]:
        try:
            with _errors():
                stream = await self.blob(key).download_blob(offset=start, length=stop - start, **_PATIENCE)
                data: bytes = await stream.readall()
        except Exception as error:
            if status_of(error) == 416:  # no byte there: the blob is empty
                return b"", await self.size(key)
            raise
        total = str(stream.properties.content_range or "").rpartition("/")[2]
        return data, int(total) if total.isdigit() else len(data)

    async def put(self, key: str, data: bytes, *, create: bool, writer: str | None = None) -> None:
        noted = {"metadata": {_WRITER: writer}} if writer else {}
        with _errors():
            await self.blob(key).upload_blob(data, overwrite=not create, length=len(data), **noted, **_PATIENCE)

    async def writer(self, key: str) -> str | None:
        found: str | None = ((await self._properties(key)).metadata or {}).get(_WRITER)
        return found

    async def delete(self, key: str) -> None:
        with _errors():
            await self.blob(key).delete_blob(**_PATIENCE)

    async def page(self, prefix: str, token: str | None, limit: int = 1000) -> tuple[list[str], str | None]:
        found = self._container.list_blob_names(name_starts_with=prefix, results_per_page=limit, **_PATIENCE)
        pages = found.by_page(token)
        with _errors():
            try:
                page = await pages.__anext__()
            except StopAsyncIteration:
                return [], None
            return [name async for name in page], pages.continuation_token or None

    async def upload(self, key: str, parts: int) -> AzureUpload:
        there: set[str] = set()
        try:
            with _errors():
                _, staged = await self.blob(key).get_block_list("uncommitted", **_PATIENCE)
            there = {block.id for block in staged}
        except FileNotFoundError:
            await self.page(key, None, 1)  # a missing container is an error, a new blob is none
        return AzureUpload(self.blob(key), there)

    async def sweep(self, prefix: str, seconds: float) -> int:
        """Nothing: the service removes blocks that were not committed for a week."""
        return 0

    async def _properties(self, key: str) -> Any:
        with _errors():
            return await self.blob(key).get_blob_properties(**_PATIENCE)


class AzureUpload:
    """Blocks of a block blob; ``there`` are the ids of those that are staged already."""

    def __init__(self, blob: Any, there: set[str]) -> None:
        self._blob, self._there = blob, there
        self._sent: dict[int, str] = {}

    async def part(self, number: int, data: bytes) -> None:
        block = base64.b64encode(f"{number:05}-{hex_of(digest_bytes(data))[:32]}".encode()).decode()
        if block not in self._there:
            with _errors():
                await self._blob.stage_block(block, data, length=len(data), **_PATIENCE)
        self._sent[number] = block

    async def finish(self, *, create: bool) -> None:
        from azure.core import MatchConditions
        from azure.storage.blob import BlobBlock

        blocks = [BlobBlock(self._sent[number]) for number in sorted(self._sent)]
        condition = {"match_condition": MatchConditions.IfMissing} if create else {}
        with _errors():
            await self._blob.commit_block_list(blocks, **condition, **_PATIENCE)

    async def abort(self) -> None:
        """Nothing: blocks that are not committed are invisible, and gone after a week."""
