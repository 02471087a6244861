"""``Artifact``: a value that a step has been promised and has not read yet.

A step parameter annotated ``Artifact`` or ``Artifact[pd.DataFrame]`` gets one of these instead of the value, and
decides itself what to read: all of it, some columns, a memory map, the path, or nothing but the facts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import ArtifactError, PickleRefused
from .digests import digest_file
from .materializers.base import LoadRequest
from .materializers.choose import materializer_of
from .saving import available, load, localized, require_digest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .store import ArtifactStore

T = TypeVar("T")


class Columns(tuple[str, ...]):
    """Which columns of a table a step reads: ``def train(data: Annotated[pd.DataFrame, Columns("age", "income")])``.

    The others are neither read nor decompressed; an index comes along. A parameter annotated so gets a table of these
    columns, in this order. It is for steps: elsewhere say ``artifact.load(columns=[…])``.
    """

    __slots__ = ()

    def __new__(cls, *names: str) -> Columns:
        return super().__new__(cls, names)


class Artifact(Generic[T]):
    """One artifact version, lazily. Immutable; pickles as its reference, without the store."""

    __slots__ = ("_allow_pickle", "_store", "ref")

    def __init__(
        self, ref: Mapping[str, Any], store: ArtifactStore | None = None, *, allow_pickle: bool = False
    ) -> None:
        self.ref: dict[str, Any] = dict(ref)
        self._store = store
        self._allow_pickle = allow_pickle

    @classmethod
    def bind(cls, ref: Mapping[str, Any], store: ArtifactStore, *, allow_pickle: bool = False) -> Artifact[T]:
        """A handle that can read: ``ref`` from metadata or XCom, ``store`` of the active stack."""
        return cls(ref, store, allow_pickle=allow_pickle)

    @property
    def name(self) -> str:
        return str(self.ref["artifact"])

    @property
    def version(self) -> int:
        return int(self.ref["version"])

    @property
    def uri(self) -> str:
        return str(self.ref["uri"])

    @property
    def digest(self) -> str:
        return str(self.ref["digest"])

    @property
    def type(self) -> str:
        return str(self.ref["type"])

    @property
    def store(self) -> ArtifactStore:
        if self._store is None:
            raise ArtifactError(
                f"The handle of {self.ref.get('artifact', self.ref['uri'])} is not bound to an artifact store.",
                hint="Bind it: Artifact.bind(ref, stack.artifact_store)",
            )
        return self._store

    def available(self) -> bool:
        """Whether the content is still in the store."""
        return available(self.ref, self.store)

    def load(self, **options: Any) -> T:
        """The value; ``columns=[…]`` for some of a table, ``verify=False`` to skip the digest."""
        value: T = load(self.ref, self.store, **{"allow_pickle": self._allow_pickle, **options})
        return value

    def open(self, *, verify: bool = False) -> Any:
        """The value without reading it where the format allows: a memory map of an array, a lazy table or frame.

        What can be mapped is not verified unless asked for, because that would read it all. In a remote store it is
        downloaded first.
        """
        materializer = materializer_of(self.type, self.uri, self.ref.get("materializer"))
        if materializer.unsafe:
            if not self._allow_pickle:
                raise PickleRefused(f"{self.uri} is a pickle, and nobody allowed it.", uri=self.uri)
            return self.load()
        if type(materializer).open is _NOT_LAZY:
            return self.load(verify=verify)
        request = LoadRequest(self.type, materializer=self.ref.get("materializer"), store=self.store)
        return materializer.open(self.path(verify=verify), request)

    def path(self, *, verify: bool = True) -> Path:
        """Where the content is here, read-only: the blob itself, or a copy that lives as long as the process."""
        with localized(self.ref, self.store, verify=verify, keep=True) as path:
            if verify and path.is_file() and self.store.local_path(self.uri) is not None:
                require_digest(self.ref, digest_file(path))
            return path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Artifact) and other.ref == self.ref

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        name = self.ref.get("artifact")
        label = f"{name} version {self.ref.get('version')}" if name else self.uri
        return f"<Artifact {label}, {self.type}>"

    def __reduce__(self) -> Any:
        return type(self), (self.ref,)


def _not_lazy() -> Any:
    from .materializers.base import Materializer

    return Materializer.open


_NOT_LAZY = _not_lazy()
