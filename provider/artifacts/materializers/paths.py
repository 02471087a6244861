"""``pathlib.Path``: the file or the folder it names becomes the artifact; loading gives a path to read it at."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ...errors import MaterializerNotFound
from ..digests import files_of, write_all
from .base import LoadRequest, StreamMaterializer

if TYPE_CHECKING:
    from pathlib import Path

    from ..digests import HashingFile

_CHUNK = 4 << 20
_SMALL = 256 << 10
_PREVIEW_FILES = 20
_PREVIEW_BYTES = 500
_CONTROL = frozenset(map(chr, range(32))) - set("\t\n\r")


class PathMaterializer(StreamMaterializer):
    """A file keeps its ending. The path that is loaded is read-only: copy it before you change it."""

    name = "path"
    keeps_path = True

    def save(self, value: Any, path: Path) -> None:
        if not value.is_dir():
            super().save(value, path)
            return
        path.mkdir()  # an empty folder is a value, too
        made = {path}
        for name, source in files_of(value):
            copy = path / name
            if copy.parent not in made:
                copy.parent.mkdir(parents=True, exist_ok=True)
                made.add(copy.parent)
            _copy(source, copy)

    def streams(self, value: Any) -> bool:
        return not value.is_dir()

    def write(self, value: Any, file: HashingFile) -> None:
        if not value.is_file():
            raise MaterializerNotFound(
                f"The step returned the path {str(value)!r}, but there is no such file or folder.",
                hint="Return a path that exists when the step ends, or return its text: str(path).",
                path=str(value),
            )
        with value.open("rb") as source:
            while chunk := source.read(_CHUNK):
                file.write(chunk)

    def load(self, path: Path, request: LoadRequest) -> Any:
        return path

    def open(self, path: Path, request: LoadRequest) -> Any:
        """A file, opened for reading bytes; of a folder, its path."""
        return path if path.is_dir() else path.open("rb")

    def describe(self, value: Any) -> dict[str, Any]:
        if not value.is_dir():
            return {"name": value.name, **_beginning(value)}
        files = list(files_of(value))
        shown = {name: path.stat().st_size for name, path in files[:_PREVIEW_FILES]}
        return {"name": value.name, "files": len(files), "preview": shown}

    def extension_of(self, value: Any) -> str:
        suffix = value.suffix.lower()
        usable = 1 < len(suffix) <= 16 and suffix[1:].isalnum() and suffix != ".tree"
        return suffix if usable and not value.is_dir() else ""


def _beginning(file: Path) -> dict[str, Any]:
    """The first lines of a text file; of anything else, nothing."""
    with file.open("rb") as opened:
        head = opened.read(_PREVIEW_BYTES)
    with suppress(UnicodeDecodeError):
        text = head.decode() if len(head) < _PREVIEW_BYTES else head[: head.rfind(b"\n") + 1].decode()
        return {"preview": text} if text and not set(text) & _CONTROL else {}
    return {}


def _copy(source: Path, target: Path) -> None:
    """``shutil.copyfile``, which for a small file takes four times as long as reading and writing it."""
    fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(fd, _SMALL)
    finally:
        os.close(fd)
    if len(data) == _SMALL:
        shutil.copyfile(source, target)
        return
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        write_all(fd, memoryview(data))
    finally:
        os.close(fd)
