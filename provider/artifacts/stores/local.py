"""Flavor ``local``: artifacts in a folder of this machine or of a shared file system.

Written without fsspec on purpose: its local file system neither creates exclusively nor syncs, and costs more than
the write for a small value. Blobs are read-only files; a key appears by ``link``, which never overwrites.

Durability: by default nothing is synced, as with SQLite's ``synchronous=NORMAL``. A killed process loses nothing; a
power failure may lose the last seconds, which reading then reports (digest or size) and a retry repairs. With
``fsync: true`` blob and folder are synced before the key appears (about 1 ms a small value, disk speed for big ones).
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ...component import ComponentConfig, ComponentContext
from ...faults import reach
from ..store import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Iterator

_STAGING = ".staging"
_LOCK = ".lock"
_STALE = 24 * 3600
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.ENOSYS}


class LocalArtifactStoreConfig(ComponentConfig):
    """``path``: the folder, by default ``<home>/artifacts``. ``fsync``: survive a power failure, too.

    ``memory_map``: load big arrays as copy-on-write maps instead of reading them. Say false on a network file system
    where another machine may delete artifacts that are in use.
    """

    path: Path | None = None
    fsync: bool = False
    memory_map: bool = True


class LocalArtifactStore(ArtifactStore):
    """Artifacts as read-only files below one folder."""

    Config = LocalArtifactStoreConfig

    def __init__(self, config: ComponentConfig | None = None, context: ComponentContext | None = None) -> None:
        super().__init__(config, context)
        given: Path | None = self.config.path
        self._folder = given.expanduser().absolute() if given else self.context.settings.home / "artifacts"
        self._root = self._folder.as_uri()
        self._swept = False
        self.memory_map = bool(self.config.memory_map)

    @property
    def root(self) -> str:
        return self._root

    def find_size(self, key: str) -> int | None:
        with self._errors("looking up"):
            try:
                found = (self._folder / key).stat()
            except FileNotFoundError:
                return None
            except NotADirectoryError:
                self._require_folder()
                return None
        return None if stat.S_ISDIR(found.st_mode) else found.st_size

    def read(self, key: str) -> BinaryIO:
        with self._errors("reading"):
            try:
                return (self._folder / key).open("rb")
            except (FileNotFoundError, IsADirectoryError):
                raise self.not_found(key) from None
            except NotADirectoryError:
                self._require_folder()
                raise self.not_found(key) from None

    def write(self, key: str, source: Path | bytes, *, overwrite: bool = False) -> bool:
        target = self._folder / key
        if isinstance(source, Path) and source.is_relative_to(self._folder / _STAGING):
            return self._publish(source, target, overwrite=overwrite)
        with self.stage() as temporary:
            with self._errors("writing"):
                if isinstance(source, bytes):
                    temporary.write_bytes(source)
                else:
                    shutil.copyfile(source, temporary)
            return self._publish(temporary, target, overwrite=overwrite)

    def keys(self, prefix: str) -> Iterator[str]:
        base = self._folder / prefix.rpartition("/")[0]
        if not base.is_dir():
            self._require_folder()
        for parent, folders, names in os.walk(base):
            if _STAGING in folders:
                folders.remove(_STAGING)
            for name in names:
                if name == _LOCK:
                    continue
                key = (Path(parent) / name).relative_to(self._folder).as_posix()
                if key.startswith(prefix):
                    yield key

    def remove(self, key: str) -> None:
        target = self._folder / key
        with self._errors("deleting"), suppress(FileNotFoundError, NotADirectoryError):
            target.unlink()  # and not its folder: somebody may be about to link into it

    def local_path(self, uri: str) -> Path | None:
        return self._folder / self.key_of(uri)

    @contextmanager
    def stage(self) -> Iterator[Path]:
        # A file of its own and no folder of its own: removing a folder costs a journal commit on some file systems.
        if not self._swept:
            with self._errors("creating a folder"):
                (self._folder / _STAGING).mkdir(parents=True, exist_ok=True)
            self._swept = True
            self.sweep(_STALE)  # once a process
        path = self._folder / _STAGING / f"{os.getpid()}-{uuid.uuid4().hex}"
        try:
            yield path
        finally:
            try:
                path.unlink(missing_ok=True)
            except OSError:
                shutil.rmtree(path, ignore_errors=True)

    def _require_folder(self) -> None:
        """A folder that is not there yet is an empty store; a file in its place is a broken one."""
        if any(parent.exists() and not parent.is_dir() for parent in (self._folder, *self._folder.parents)):
            raise self.unavailable(
                "looking up", f"{self._folder} is not a folder", "Correct the artifact store's path."
            )

    def _publish(self, temporary: Path, target: Path, *, overwrite: bool) -> bool:
        with self._errors("writing"):
            temporary.chmod(temporary.stat().st_mode & 0o444)
            reach("artifacts.commit.before_fsync")
            if self.config.fsync:
                _sync(temporary)
            reach("artifacts.commit.before_rename")
            try:
                written = self._rename(temporary, target, overwrite=overwrite)
            except FileNotFoundError:
                target.parent.mkdir(parents=True, exist_ok=True)
                written = self._rename(temporary, target, overwrite=overwrite)
            reach("artifacts.commit.after_rename")
            if self.config.fsync:
                _sync(target.parent)
        return written

    def _rename(self, temporary: Path, target: Path, *, overwrite: bool) -> bool:
        if overwrite:
            temporary.replace(target)
            return True
        try:
            os.link(temporary, target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return self._rename_locked(temporary, target)
        return True

    def _rename_locked(self, temporary: Path, target: Path) -> bool:
        """``link`` where there are no hard links (FAT, some network shares): exclusive by a lock that dies with us."""
        with (self._folder / _LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if target.exists():
                return False
            temporary.replace(target)
            return True

    def _present(self) -> float:
        """The time by the clock that stamps the files: on a shared file system, this machine's may be days ahead."""
        path = self._folder / _STAGING / f"{os.getpid()}-{uuid.uuid4().hex}"
        path.touch()
        try:
            return path.stat().st_mtime
        finally:
            path.unlink(missing_ok=True)

    def sweep(self, seconds: float) -> int:
        """Remove what killed writers left in the staging folder, so long ago; returns how many."""
        found, present = 0, None
        with suppress(OSError), os.scandir(self._folder / _STAGING) as entries:
            for entry in entries:
                with suppress(OSError):
                    if present is None:
                        present = self._present()
                    if present - entry.stat().st_mtime < seconds:
                        continue
                    found += 1
                    if entry.is_dir():
                        shutil.rmtree(entry.path, ignore_errors=True)
                    else:
                        Path(entry.path).unlink()
        return found

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            hint = None
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                hint = f"Give this user write access to {self._folder}, or set the artifact store's path."
            elif error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                hint = f"Free space on the disk of {self._folder}, or set the artifact store's path."
            raise self.unavailable(doing, error.strerror or str(error), hint) from error

    def __reduce__(self) -> Any:
        return type(self), (self.config, self._context)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
