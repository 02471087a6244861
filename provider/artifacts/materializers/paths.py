"""``pathlib.Path``: the file or the folder it names becomes the artifact; loading gives a path to read it at."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from ...errors import MaterializerNotFound
from ..digests import HashingFile, files_of
from .base import LoadRequest, Materializer

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK = 4 << 20
_PREVIEW_FILES = 20


class PathMaterializer(Materializer):
    """A file keeps its ending. The path that is loaded is read-only: copy it before you change it."""

    name = "path"
    keeps_path = True

    def save(self, value: Any, path: Path) -> None:
        if value.is_dir():
            for name, source in files_of(value):
                copy = path / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)
            path.mkdir(exist_ok=True)  # an empty folder is a value, too
            return
        if not value.is_file():
            raise MaterializerNotFound(
                f"The step returned the path {str(value)!r}, but there is no such file or folder.",
                hint="Return a path that exists when the step ends, or return its text: str(path).",
                path=str(value),
            )
        with value.open("rb") as file, HashingFile(path) as target:
            while chunk := file.read(_CHUNK):
                target.write(chunk)

    def load(self, path: Path, request: LoadRequest) -> Any:
        return path

    def describe(self, value: Any) -> dict[str, Any]:
        if not value.is_dir():
            return {"name": value.name}
        names = [name for name, _ in files_of(value)]
        return {"name": value.name, "files": len(names), "preview": names[:_PREVIEW_FILES]}

    def extension_of(self, value: Any) -> str:
        suffix = value.suffix.lower()
        usable = 1 < len(suffix) <= 16 and suffix[1:].isalnum() and suffix != ".tree"
        return suffix if usable and not value.is_dir() else ""
