"""A stack: a named set of components, read from ``<name>.yaml``.

A file names only what differs from the built-in stack ``local``, which needs no file::

    name: production
    artifact_store: {flavor: s3, bucket: acme-ml, connection: aws_ml}
    compute:
      default: local
      kubernetes: {namespace: ml, image: ghcr.io/acme/churn:1.4.0}
    deployer: sagemaker                                # short for {flavor: sagemaker}
    retention: {default: {runs: 50, days: 90}}         # no component: see retention/policy.py

Every task loads one, so loading does as little as it can: the file is parsed and its shape is checked; a component's
class is imported, and its options are validated, when the component is first used. :meth:`Stack.check` uses them all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from .errors import ComponentInvalid, StackInvalid, StackNotFound, did_you_mean
from .settings import DIRECT, Settings

if TYPE_CHECKING:
    from pathlib import Path

    from .artifacts.store import ArtifactStore
    from .component import Component
    from .compute.base import Compute
    from .deployers.base import Deployer
    from .metadata import Metadata
    from .monitoring.detector import DriftDetector
    from .registry.models import ModelRegistry
    from .retention.policy import RetentionPolicy
    from .security.credentials import Credentials
    from .stack_check import ComponentCheck
    from .yaml_lines import YamlDocument

LOCAL = "local"

DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "artifact_store": {"flavor": "local"},
        "metadata_store": {"flavor": "sql"},
        "compute": {"default": "local", "local": {"flavor": "local"}},
        "model_registry": {"flavor": "native"},
        "deployer": {"flavor": "local"},
        "drift_detector": {"flavor": "statistical"},
    }
)
"""The built-in stack ``local``, and what every other stack starts from."""

_SECTIONS = ("name", "retention", "step_cache")
"""What a stack file says that is no component."""

IF_ASKED: Mapping[str, Mapping[str, Any]] = MappingProxyType({"data_validator": {"flavor": "great_expectations"}})
"""What a stack has without naming it, for who asks; no part of ``check``, because it needs an extra."""


class Stack:
    """The components of one stack, each built once, when it is first asked for.

    Thread-safe. Components open their connections on first use, so a stack may be loaded before a fork and used
    after it as long as nothing was used in between.
    """

    def __init__(
        self,
        description: Mapping[str, Any],
        *,
        settings: Settings,
        credentials: Credentials,
        document: YamlDocument | None = None,
    ) -> None:
        self.name: str = description["name"]
        self.description = _transported(description, settings)
        self.settings = settings
        self.credentials = credentials
        self._document = document
        self._built: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._locks: dict[str, threading.RLock] = {}

    def __repr__(self) -> str:
        return f"<Stack {self.name!r}>"

    @classmethod
    def load(
        cls, name: str | None = None, *, settings: Settings | None = None, credentials: Credentials | None = None
    ) -> Stack:
        """The stack ``name``, or the active one. Raises ``StackNotFound``, ``StackInvalid``."""
        settings = settings or Settings.load()
        if credentials is None:
            from .security.credentials import EnvironmentCredentials

            credentials = EnvironmentCredentials()
        description, document = _read(name or settings.stack, settings)
        return cls(description, settings=settings, credentials=credentials, document=document)

    @classmethod
    def names(cls, settings: Settings | None = None) -> list[str]:
        """Every stack that can be loaded here: ``local``, and one for each file of the stacks folders."""
        settings = settings or Settings.load()
        return sorted({LOCAL, *(path.stem for path in _files(settings))})

    @classmethod
    def describe(cls, name: str | None = None, *, settings: Settings | None = None) -> Mapping[str, Any]:
        """The merged options of a stack as plain data; builds and imports no component.

        ``{"name": …, "file": str | None, <kind>: {"flavor": …, …}, "compute": {"default": name, name: {"flavor": …}}}``
        """
        settings = settings or Settings.load()
        return _read(name or settings.stack, settings)[0]

    @property
    def metadata(self) -> Metadata:
        """The metadata database, open. Raises ``MetadataUnavailable``, ``SchemaOutdated``."""
        return cast("Metadata", self._once("metadata", lambda: self.component("metadata_store").open()))

    @property
    def artifact_store(self) -> ArtifactStore:
        return cast("ArtifactStore", self.component("artifact_store"))

    @property
    def model_registry(self) -> ModelRegistry:
        return cast("ModelRegistry", self.component("model_registry"))

    @property
    def deployer(self) -> Deployer:
        return cast("Deployer", self.component("deployer"))

    @property
    def drift_detector(self) -> DriftDetector:
        return cast("DriftDetector", self.component("drift_detector"))

    def compute(self, name: str | None = None) -> Compute:
        """Where a step runs: the named entry of ``compute:``, or its default."""
        entries = self.description["compute"]
        name = name or entries["default"]
        if name == "default" or name not in entries:
            raise StackInvalid(
                f'Stack "{self.name}" has no compute "{name}".',
                hint=did_you_mean(name, entries.keys() - {"default"}),
                stack=self.name,
            )
        return cast("Compute", self._build("compute", entries[name], "compute", name))

    @property
    def retention(self) -> RetentionPolicy:
        """For how long what runs made is kept: ``retention:`` of the stack file. Raises ``ComponentInvalid``."""
        from .retention.policy import RetentionPolicy

        document = self._document
        options = (document.data or {}).get("retention") if document else None
        try:
            return RetentionPolicy.of(options)
        except ComponentInvalid as error:
            assert document is not None
            fields = error.facts.get("fields") or ["retention"]
            place = document.where(*fields[0].split("."))
            raise ComponentInvalid(f"{place}: {error.message}", hint=error.hint, **error.facts) from None

    @property
    def borrows_from(self) -> tuple[str, ...]:
        """Stacks whose results the step cache takes, too: ``step_cache: {borrow_from: […]}``. See runtime/borrowing.py.

        Raises ``StackInvalid``.
        """
        document = self._document
        section = (document.data or {}).get("step_cache") if document else None
        if document is None or section is None:
            return ()
        names = section.get("borrow_from", []) if isinstance(section, Mapping) else None
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names) or set(section) - {"borrow_from"}:
            where = document.where("step_cache")
            raise StackInvalid(
                f"{where}: step_cache is configured wrongly.", hint="Write: step_cache: {borrow_from: [staging]}"
            )
        return tuple(name for name in names if name != self.name)

    def has(self, kind: str) -> bool:
        """Whether the stack has a component of that kind (an alerter is optional, a deployer always there)."""
        return kind in self.description or kind in IF_ASKED

    def component(self, kind: str) -> Any:
        """The stack's component of ``kind``. Raises ``StackInvalid`` when it has none."""
        if kind == "compute":
            return self.compute()
        options = self.description.get(kind) or IF_ASKED.get(kind)
        if not isinstance(options, Mapping):
            configured = [k for k in self.description if k not in {"name", "file"}]
            raise StackInvalid(
                f'Stack "{self.name}" has no {kind}.',
                hint=f'Add "{kind}:" to {self.description["file"] or "a stack file"}. {did_you_mean(kind, configured)}',
                stack=self.name,
                kind=kind,
            )
        return self._build(kind, options, kind)

    def parts(self) -> list[tuple[str, str]]:
        """``(kind, flavor)`` of every component; a compute is ``compute.<name>``."""
        rows = []
        for kind, options in self.description.items():
            if kind == "compute":
                rows += [(f"compute.{name}", o["flavor"]) for name, o in options.items() if name != "default"]
            elif isinstance(options, Mapping):
                rows.append((kind, options["flavor"]))
        return rows

    def check(self, *, timeout: float = 30.0) -> list[ComponentCheck]:
        """Prove every component with a live round trip, all at once. Never raises; an outage is a row."""
        from .stack_check import check_parts

        return check_parts(self, timeout=timeout)

    def part(self, label: str) -> Any:
        """A component by its label in :meth:`parts`."""
        kind, _, name = label.partition(".")
        return self.compute(name) if kind == "compute" and name else self.component(kind)

    def _build(self, kind: str, options: Mapping[str, Any], *path: str) -> Component:
        return cast("Component", self._once(".".join(path), lambda: self._new(kind, options, path)))

    def _once(self, label: str, make: Callable[[], Any]) -> Any:
        """A lock for each label: a database that takes long to answer keeps nobody from the artifact store."""
        if label in self._built:
            return self._built[label]
        with self._lock:
            lock = self._locks.setdefault(label, threading.RLock())
        with lock:
            if label not in self._built:
                self._built[label] = make()
            return self._built[label]

    def _new(self, kind: str, options: Mapping[str, Any], path: tuple[str, ...]) -> Component:
        from .component import ComponentContext
        from .flavors import resolve

        where = self._document.where(*path, "flavor") if self._document else None
        cls = resolve(kind, options["flavor"], where)
        context = ComponentContext(settings=self.settings, credentials=self.credentials)
        try:
            built = cls.from_mapping({k: v for k, v in options.items() if k != "flavor"}, context)
        except ComponentInvalid as error:
            if self._document is None:
                raise
            # pydantic names the field, the file knows its line.
            fields = error.facts.get("fields") or [""]
            place = self._document.where(*path, *fields[0].split("."))
            raise ComponentInvalid(f"{place}: {error.message}", hint=error.hint, **error.facts) from None
        if hasattr(built, "attach"):
            # A component that works over its neighbours (a registry over the database) is told how to reach them,
            # as functions: telling it connects to nothing.
            built.attach(metadata=lambda: self.metadata, artifact_store=lambda: self.artifact_store)
        return built


def _transported(description: Mapping[str, Any], settings: Settings) -> Mapping[str, Any]:
    """The way to the metadata is a matter of the process, not of the stack: see ``[windsock] metadata_transport``."""
    flavor = description["metadata_store"].get("flavor")
    if settings.metadata_transport == "rest" and flavor == "sql":
        return {**description, "metadata_store": {"flavor": "rest", "stack": description["name"]}}
    if settings.metadata_transport == DIRECT and flavor == "rest":
        return {**description, "metadata_store": {"flavor": "sql"}}
    return description


def _files(settings: Settings) -> Iterator[Path]:
    for folder in settings.stacks_folders:
        for suffix in ("*.yaml", "*.yml"):
            yield from sorted(folder.glob(suffix))


def find_file(name: str, settings: Settings) -> Path | None:
    """The file of a stack: the first ``<name>.yaml`` of the stacks folders. None for the built-in ``local``."""
    if "/" in name or "\\" in name:
        return None
    for folder in settings.stacks_folders:
        for suffix in (".yaml", ".yml"):
            path = folder / f"{name}{suffix}"
            if path.is_file():
                return path
    return None


def _read(name: str, settings: Settings) -> tuple[Mapping[str, Any], YamlDocument | None]:
    path = find_file(name, settings)
    if path is not None:
        stat = path.stat()
        return _read_file(name, path, stat.st_mtime_ns, stat.st_size)
    if name == LOCAL:
        return MappingProxyType({"name": LOCAL, "file": None, **DEFAULTS}), None
    folders = ", ".join(str(folder) for folder in settings.stacks_folders)
    raise StackNotFound(
        f'Stack "{name}" is not known: no {name}.yaml in {folders}.',
        hint=did_you_mean(name, Stack.names(settings)),
        stack=name,
    )


@lru_cache(maxsize=32)
def _read_file(name: str, path: Path, mtime: int, size: int) -> tuple[Mapping[str, Any], YamlDocument]:
    """Parse a stack file; again only when its time or size has changed."""
    from .yaml_lines import read_yaml

    document = read_yaml(path, error=StackInvalid)
    return MappingProxyType(_merge(name, document)), document


def _merge(name: str, document: YamlDocument) -> dict[str, Any]:
    from .component import KINDS

    data = document.data if document.data is not None else {}
    if not isinstance(data, dict):
        raise _invalid(document, (), f"a stack is a mapping of kind to component, and this is a {type(data).__name__}.")
    kinds = [kind for kind in KINDS if kind != "step"]
    for key in data:
        if key not in {*kinds, *_SECTIONS}:
            known = [*kinds, *_SECTIONS]
            raise _invalid(document, (key,), f'"{key}" is no kind of component.', did_you_mean(str(key), known))
    if data.get("name", name) != name:
        raise _invalid(
            document,
            ("name",),
            f'the file is called "{name}" and the stack in it "{data["name"]}".',
            "Let both be the same: the file's name is what WINDSOCK_STACK and `windsock stack use` take.",
        )
    merged: dict[str, Any] = {"name": name, "file": document.file, **DEFAULTS}
    for kind, value in data.items():
        if kind == "compute":
            merged[kind] = _computes(value, document)
        elif kind not in _SECTIONS:
            default = DEFAULTS.get(kind, {}).get("flavor")
            merged[kind] = _options(value, (kind,), document, default=default)
    return merged


def _computes(value: Any, document: YamlDocument) -> dict[str, Any]:
    """``{"default": name, name: options…}``; an entry's flavor is its name unless it says otherwise."""
    entries: dict[str, Any] = {"local": {"flavor": "local"}}
    if isinstance(value, str):
        value = {"default": value, value: {}}
    if not isinstance(value, dict):
        raise _invalid(
            document, ("compute",), 'compute is a mapping: "default", and a name and options for each place.'
        )
    for name, options in value.items():
        if name != "default":
            entries[str(name)] = _options(options, ("compute", str(name)), document, default=str(name))
    default = value.get("default", "local")
    if default not in entries:
        raise _invalid(
            document,
            ("compute", "default"),
            f'compute "{default}" is not defined.',
            did_you_mean(str(default), entries),
        )
    return {"default": default, **entries}


def _options(value: Any, path: tuple[str, ...], document: YamlDocument, *, default: str | None) -> dict[str, Any]:
    label = ".".join(path)
    if isinstance(value, str):
        return {"flavor": value}
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise _invalid(document, path, f"{label} is a flavor or a mapping with a flavor, and here a {value!r}.")
    flavor = value.get("flavor", default)
    if not isinstance(flavor, str):
        raise _invalid(document, path, f'{label} has no "flavor".', f"For example: {label}: {{flavor: local}}")
    return {"flavor": flavor, **{str(k): v for k, v in value.items() if k != "flavor"}}


def _invalid(document: YamlDocument, path: tuple[Any, ...], what: str, hint: str | None = None) -> StackInvalid:
    keys = tuple(str(key) for key in path)
    return StackInvalid(f"{document.where(*keys)}: {what}", hint=hint, file=document.file, line=document.line(*keys))
