"""What a materializer is: how values of one family of types become files, and files become values again.

Write one by subclassing :class:`Materializer` with ``save`` and ``load``::

    class ImageMaterializer(Materializer):
        name = "acme.image"
        extension = ".png"

        def save(self, value: Image, path: Path) -> None:
            value.save(path, format="PNG")

        def load(self, path: Path, request: LoadRequest) -> Image:
            return Image.open(path).copy()

    register_materializer("acme.images.Image", ImageMaterializer)

or, so that every process finds it, by an entry point of the group ``windsock.materializer`` named after the type:
``"acme.images.Image" = "acme.materializers:ImageMaterializer"``. ``path`` does not exist yet when ``save`` is
called; it may become a file or a folder. The same value should give the same bytes: that is what makes identical
outputs one version and keeps everything downstream cached.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from ...errors import MissingExtra
from ..digests import HashingFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..store import ArtifactStore


@dataclass(frozen=True)
class LoadRequest:
    """What the reader wants: the type that was recorded, and perhaps only some columns of a table."""

    type: str
    columns: Sequence[str] | None = None
    materializer: str | None = None
    store: ArtifactStore | None = field(default=None, repr=False, compare=False)
    """Where the artifact is: for values that read more from there later."""


class Materializer(ABC):
    """Saves and loads values of some types. Stateless: one instance serves all threads.

    ``name`` is recorded with the artifact and finds the class again; ``extension`` ends the blob's key.
    """

    name: ClassVar[str]
    extension: ClassVar[str] = ""
    keeps_path: ClassVar[bool] = False
    """What :meth:`load` gives reads from ``path`` later, so that a copy of the artifact must outlive the call."""
    verify_first: ClassVar[bool] = False
    """The library that reads the content is not made for forged ones: the digest is verified before, always."""
    unsafe: ClassVar[bool] = False
    """Loading may run code that is in the file: needs ``allow_pickle`` and a matching digest."""

    reads_files: ClassVar[bool] = False
    """Whether :meth:`load_file` is there: an encrypted value is then read without a decrypted file."""

    @abstractmethod
    def save(self, value: Any, path: Path) -> None:
        """Write the value to ``path``. Raises ``MaterializerNotFound`` if this very value cannot be stored."""

    @abstractmethod
    def load(self, path: Path, request: LoadRequest) -> Any:
        """The value again. ``path`` is read-only and may vanish after the call, unless ``keeps_path``."""

    def load_file(self, file: BinaryIO, request: LoadRequest) -> Any:
        """The value of an open file that seeks; for formats that can do without a path."""
        raise NotImplementedError

    def open(self, path: Path, request: LoadRequest) -> Any:
        """The value, memory-mapped or lazy where the format can; by default the same as :meth:`load`."""
        return self.load(path, request)

    def describe(self, value: Any) -> dict[str, Any]:
        """Facts about the value as JSON: shape, schema, a small preview. Must be cheap: never a pass over the data."""
        return {}

    def save_described(self, value: Any, path: Path) -> dict[str, Any]:
        """:meth:`save`, and what is to be known about the value: override it if only writing can tell.

        For data that come by once. By default what :meth:`describe` says.
        """
        self.save(value, path)
        return self.describe(value)

    def extension_of(self, value: Any) -> str:
        return self.extension


class StreamMaterializer(Materializer):
    """A materializer that writes front to back, so that the digest is computed while writing."""

    @abstractmethod
    def write(self, value: Any, file: HashingFile) -> None:
        """Append the value to the file."""

    def streams(self, value: Any) -> bool:
        """Whether this very value is one file; if not, :meth:`save` writes its folder."""
        return True

    def save(self, value: Any, path: Path) -> None:
        with HashingFile(path) as file:
            self.write(value, file)


class BufferMaterializer(StreamMaterializer):
    """One that also reads from memory: the content is verified before a byte of it is interpreted."""

    in_memory_below: ClassVar[int | None] = None
    """Files of so many bytes and more are left to :meth:`load`; None: all are read into memory."""
    mappable: ClassVar[bool] = False
    """Big values may be copy-on-write maps of the blob: harmless if the blob were changed later, and no copy."""

    @abstractmethod
    def read(self, data: memoryview, request: LoadRequest) -> Any:
        """The value. ``data`` is writable and belongs to the value: arrays may be views of it, without a copy."""

    def load(self, path: Path, request: LoadRequest) -> Any:
        return self.read(memoryview(bytearray(path.read_bytes())), request)


_EXTRAS = {
    "PIL.Image": "images",
    "h5py": "keras",
    "onnx": "onnx",
    "dask.dataframe": "dask",
    "safetensors": "torch",
    "pyspark.sql": "spark",
}


def require_library(module: str, what: str) -> Any:
    """The module, imported. Raises ``MissingExtra`` with the command that installs it: ``what`` needs it."""
    try:
        return import_module(module)
    except ImportError as error:
        # Also an import that fails because of something that the library itself needs.
        raise MissingExtra(
            f"The artifact is {what}, which needs {error.name or module}.",
            hint=f"Run: pip install 'airflow-provider-windsock[{_EXTRAS.get(module, module.partition('.')[0])}]'",
            module=module,
        ) from None
