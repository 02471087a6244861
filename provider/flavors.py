"""Flavors: from the name in a stack file to the class that implements it.

Three ways, in this order: the table of built-ins below; an entry point in the group ``windsock.<kind>`` of any
installed package; a full class path ``package.module:Class``. A class path is imported, hence run: a stack file is as
trusted as code, and whoever may edit one may run code as the process that loads it.

The table holds strings, so that knowing every flavor imports none of them.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import ComponentInvalid, FlavorNotFound, MissingExtra, did_you_mean

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from .component import Component

DISTRIBUTION = "airflow-provider-windsock"


class Flavor(NamedTuple):
    """One built-in: ``module:Class`` (in ``windsock.provider``), and the extra that brings what it ``needs``."""

    path: str
    extra: str | None = None
    needs: tuple[str, ...] = ()


FLAVORS: dict[str, dict[str, Flavor]] = {
    "alerter": {
        "notifier": Flavor("windsock.hooks.alerters:NotifierAlerter"),
        "webhook": Flavor(".alerters.webhook:WebhookAlerter"),
    },
    "artifact_store": {
        "azure": Flavor(".artifacts.stores.azure:AzureArtifactStore", "azure", ("adlfs",)),
        "gcs": Flavor(".artifacts.stores.gcs:GcsArtifactStore", "google", ("gcsfs",)),
        "local": Flavor(".artifacts.stores.local:LocalArtifactStore"),
        "s3": Flavor(".artifacts.stores.s3:S3ArtifactStore", "amazon", ("s3fs",)),
    },
    "compute": {
        "local": Flavor(".compute.local:LocalCompute"),
    },
    "data_validator": {
        "great_expectations": Flavor(
            ".validation.great_expectations:GreatExpectationsValidator", "great-expectations", ("great_expectations",)
        ),
    },
    "deployer": {
        "local": Flavor(".deployers.local:LocalDeployer"),
    },
    "drift_detector": {
        "statistical": Flavor(".monitoring.detector:StatisticalDriftDetector"),
    },
    "metadata_store": {
        "rest": Flavor(".metadata.rest.component:RestMetadataStore"),
        "sql": Flavor(".metadata.component:SqlMetadataStore"),
    },
    "model_registry": {
        "native": Flavor(".registry.models:NativeModelRegistry"),
    },
}
"""kind -> flavor -> where it is. Sorted; a test imports every one."""


def known(kind: str) -> list[str]:
    """Names of all flavors of ``kind`` on this machine, built-in or from entry points."""
    return sorted({*FLAVORS.get(kind, {}), *_entry_points(kind)})


def resolve(kind: str, flavor: str, where: str | None = None) -> type[Component]:
    """The class of ``flavor``. ``where`` (file and line) goes into the error message.

    Raises ``FlavorNotFound``, ``MissingExtra``, or ``ComponentInvalid`` when the class is no component of that kind.
    An ``ImportError`` from inside the user's own module is not caught: its traceback is what the author needs.
    """
    place = f" ({where})" if where else ""
    built_in = FLAVORS.get(kind, {}).get(flavor)
    if built_in is not None:
        return _built_in(kind, flavor, built_in, place)
    entry_point = _entry_points(kind).get(flavor)
    if entry_point is not None:
        return _checked(kind, flavor, entry_point.load(), place)
    if ":" in flavor:
        return _checked(kind, flavor, _from_path(kind, flavor, place), place)
    raise FlavorNotFound(
        f'{kind} "{flavor}" is not known{place}.',
        hint=f'{did_you_mean(flavor, known(kind))} A class of your own is written "package.module:Class".',
        kind=kind,
        flavor=flavor,
    )


def missing_extra(what: str, library: str, extra: str, where: str = "") -> MissingExtra:
    """The one wording for "that needs a package which is not installed"."""
    return MissingExtra(
        f"{what} needs {library}, which is not installed{where}.",
        hint=f"Run: pip install '{DISTRIBUTION}[{extra}]'",
        extra=extra,
        library=library,
    )


def _built_in(kind: str, flavor: str, entry: Flavor, place: str) -> type[Component]:
    # Looking for the library is cheap and says what is missing before anything half-works; importing it is left
    # to the moment of use.
    for library in entry.needs:
        if entry.extra and find_spec(library) is None:
            raise missing_extra(f'{kind} "{flavor}"', library, entry.extra, place)
    module, _, name = entry.path.partition(":")
    try:
        cls: type[Component] = getattr(import_module(module, __package__), name)
    except ModuleNotFoundError as error:
        if entry.extra and not (error.name or "").startswith("windsock"):
            raise missing_extra(f'{kind} "{flavor}"', error.name or "a library", entry.extra, place) from error
        raise
    return cls


def _from_path(kind: str, flavor: str, place: str) -> Any:
    module, _, name = flavor.partition(":")
    try:
        found: Any = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise FlavorNotFound(
                f'{kind} "{flavor}": there is no module "{error.name}" on the Python path{place}.',
                hint="Install the package that holds it, or add its folder to PYTHONPATH.",
                kind=kind,
                flavor=flavor,
            ) from None
        raise
    if not hasattr(found, name):
        raise FlavorNotFound(
            f'{kind} "{flavor}": {module} has no "{name}"{place}.',
            hint=did_you_mean(name, [n for n, v in vars(found).items() if isinstance(v, type)]),
            kind=kind,
            flavor=flavor,
        )
    return getattr(found, name)


def _checked(kind: str, flavor: str, cls: Any, place: str) -> type[Component]:
    from .component import Component

    if not (isinstance(cls, type) and issubclass(cls, Component)):
        raise ComponentInvalid(
            f'{kind} "{flavor}" is no subclass of windsock.Component{place}.',
            hint=f"Derive the class from the abstract class of its kind (kind = {kind!r}).",
        )
    if cls.kind != kind:
        raise ComponentInvalid(
            f'"{flavor}" is a {cls.kind}, and stands as the {kind} of a stack{place}.',
            hint=f'Move it to "{cls.kind}:".',
        )
    return cls


def _entry_points(kind: str) -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=f"windsock.{kind}")}
