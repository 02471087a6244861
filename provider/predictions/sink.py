"""A sink of the prediction log on anything fsspec can open."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class FsspecSink:
    """Files under a root URL or path.

    On a local file system a file is copied to a hidden name beside its target, synced and renamed; an object store
    makes an object visible with its last byte, so a plain put is atomic there.
    """

    def __init__(self, root: str | Path, storage_options: Mapping[str, Any] | None = None) -> None:
        from fsspec.core import url_to_fs

        self.fs, self.path = url_to_fs(str(root), **(storage_options or {}))
        protocol = self.fs.protocol if isinstance(self.fs.protocol, str) else self.fs.protocol[0]
        self._local = protocol in ("file", "local")
        self._scheme = "" if self._local else f"{protocol}://"

    def commit(self, source: Path, key: str) -> str:
        target = f"{self.path}/{key}"
        if not self._local:
            self.fs.put_file(str(source), target)
        else:
            with source.open("rb") as data:
                _write_local(Path(target), data.read())
        return self._scheme + target

    def put_bytes(self, key: str, data: bytes, *, overwrite: bool = False) -> str:
        target = f"{self.path}/{key}"
        if not overwrite and self.fs.exists(target):
            return self._scheme + target
        if self._local:
            _write_local(Path(target), data)
        else:
            self.fs.pipe_file(target, data)
        return self._scheme + target

    def list(self, prefix: str) -> Iterator[str]:
        self.fs.invalidate_cache()
        for path in self.fs.find(f"{self.path}/{prefix.rstrip('/')}"):
            yield self._scheme + str(path)


def _write_local(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    hidden = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}"
    try:
        with hidden.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        hidden.replace(target)
    finally:
        hidden.unlink(missing_ok=True)
