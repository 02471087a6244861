"""S3's requests, by s3fs's own aiobotocore client.

An interrupted multipart upload is found by its key, and its parts are recognised by their MD5, which S3 calls ETag.
A part that is encrypted by a key of KMS has another ETag, and is simply sent again.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from .transfers import UploadLost, status_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_WRITER = "windsock-writer"
_SMALL = 1 << 20
_LOST = {"NoSuchUpload", "InvalidPart", "InvalidPartOrder"}


def code_of(error: BaseException) -> str:
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


class S3Bucket:
    """Requests to one bucket."""

    most_parts = 10_000

    def __init__(self, filesystem: Any, name: str) -> None:
        self._filesystem = filesystem
        self._name = name
        self._client: Any = None

    async def call(self, operation: str, **arguments: Any) -> Mapping[str, Any]:
        """One request. 404 is ``FileNotFoundError``, a condition that did not hold ``FileExistsError``."""
        client = await self._filesystem.set_session()
        if client is not self._client:
            client.meta.events.register_last("before-call.s3", _do_not_ask)
            self._client = client
        try:
            answer: Mapping[str, Any] = await getattr(client, operation)(Bucket=self._name, **arguments)
        except client.exceptions.ClientError as error:
            code, status = code_of(error), status_of(error)
            if code in _LOST:
                raise UploadLost(code) from error
            if status == 404:
                raise FileNotFoundError(f"{self._name}/{arguments.get('Key', '')}") from error
            if status == 412:
                raise FileExistsError(f"{self._name}/{arguments.get('Key', '')}") from error
            if code == "ConditionalRequestConflict":  # two at the same moment: ask again who was first
                raise ConnectionError(str(error)) from error
            raise
        return answer

    async def size(self, key: str) -> int:
        return int((await self.call("head_object", Key=key))["ContentLength"])

    async def get(self, key: str, start: int, stop: int) -> tuple[bytes, int]:
        try:
            answer = await self.call("get_object", Key=key, Range=f"bytes={start}-{stop - 1}")
        except Exception as error:
            if status_of(error) == 416:  # no byte there: the blob is empty
                return b"", await self.size(key)
            raise
        async with answer["Body"] as body:
            data: bytes = await body.read()
        total = answer.get("ContentRange", "").rpartition("/")[2]
        return data, int(total) if total.isdigit() else len(data)

    async def put(self, key: str, data: bytes, *, create: bool, writer: str | None = None) -> None:
        condition = {"IfNoneMatch": "*"} if create else {}
        noted = {"Metadata": {_WRITER: writer}} if writer else {}
        await self.call("put_object", Key=key, Body=data, **condition, **noted)

    async def writer(self, key: str) -> str | None:
        noted: dict[str, str] = (await self.call("head_object", Key=key)).get("Metadata", {})
        return noted.get(_WRITER)

    async def delete(self, key: str) -> None:
        await self.call("delete_object", Key=key)

    async def page(self, prefix: str, token: str | None, limit: int = 1000) -> tuple[list[str], str | None]:
        more = {"ContinuationToken": token} if token else {}
        answer = await self.call("list_objects_v2", Prefix=prefix, MaxKeys=limit, **more)
        return [found["Key"] for found in answer.get("Contents", [])], answer.get("NextContinuationToken")

    async def upload(self, key: str, parts: int) -> S3Upload:
        with suppress(Exception):  # without the permission to list uploads, every upload is a new one
            newest = None
            async for found in self._uploads(key):
                if found["Key"] == key and (newest is None or found["Initiated"] > newest["Initiated"]):
                    newest = found
            if newest is not None:
                return S3Upload(self, key, newest["UploadId"], await self._parts(key, newest["UploadId"]))
        return S3Upload(self, key, (await self.call("create_multipart_upload", Key=key))["UploadId"], {})

    async def sweep(self, prefix: str, seconds: float) -> int:
        before = datetime.now(timezone.utc) - timedelta(seconds=seconds)
        count = 0
        async for found in self._uploads(prefix):
            if found["Initiated"] < before:
                with suppress(UploadLost, FileNotFoundError):
                    await self.call("abort_multipart_upload", Key=found["Key"], UploadId=found["UploadId"])
                count += 1
        return count

    async def _uploads(self, prefix: str) -> AsyncIterator[Mapping[str, Any]]:
        marker: dict[str, Any] = {}
        while True:
            answer = await self.call("list_multipart_uploads", Prefix=prefix, **marker)
            for found in answer.get("Uploads", []):
                yield found
            if not answer.get("IsTruncated"):
                return
            marker = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}

    async def _parts(self, key: str, upload: str) -> dict[int, Mapping[str, Any]]:
        found: dict[int, Mapping[str, Any]] = {}
        marker: dict[str, Any] = {}
        while True:
            answer = await self.call("list_parts", Key=key, UploadId=upload, **marker)
            found |= {int(part["PartNumber"]): part for part in answer.get("Parts", [])}
            if not answer.get("IsTruncated"):
                return found
            marker = {"PartNumberMarker": answer["NextPartNumberMarker"]}


class S3Upload:
    """A multipart upload; ``there`` is what an interrupted one has sent."""

    def __init__(self, bucket: S3Bucket, key: str, upload: str, there: Mapping[int, Mapping[str, Any]]) -> None:
        self._bucket, self._names, self._there = bucket, {"Key": key, "UploadId": upload}, there
        self._sent: dict[int, Mapping[str, Any]] = {}

    async def part(self, number: int, data: bytes) -> None:
        there = self._there.get(number + 1)
        if there is not None and there["Size"] == len(data) and there["ETag"].strip('"') == _md5(data):
            self._sent[number + 1] = there
            return
        answer = await self._bucket.call("upload_part", PartNumber=number + 1, Body=data, **self._names)
        self._sent[number + 1] = answer

    async def finish(self, *, create: bool) -> None:
        parts = [{"PartNumber": number, **_identity(self._sent[number])} for number in sorted(self._sent)]
        condition = {"IfNoneMatch": "*"} if create else {}
        await self._bucket.call(
            "complete_multipart_upload", MultipartUpload={"Parts": parts}, **self._names, **condition
        )

    async def abort(self) -> None:
        with suppress(UploadLost):
            await self._bucket.call("abort_multipart_upload", **self._names)


def _do_not_ask(params: Any, **_: Any) -> None:
    """A small body is sent with its headers: to ask first ("Expect: 100-continue") is a round trip a file."""
    body = params.get("body")
    size = len(body) if isinstance(body, (bytes, bytearray)) else len(body.getbuffer())
    if size <= _SMALL:
        params["headers"].pop("Expect", None)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _identity(part: Mapping[str, Any]) -> dict[str, Any]:
    """What completing names of a part: its ETag and whatever checksum it was sent with."""
    names = ("ETag", "ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA1", "ChecksumSHA256")
    return {name: part[name] for name in names if part.get(name)}
