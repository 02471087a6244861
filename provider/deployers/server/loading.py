"""From a release to a predictor that has answered: the artifact's digest is checked on the way."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...component import ComponentContext
from ...errors import DeploymentFailed, WindsockError
from ...security.credentials import EnvironmentCredentials
from ...settings import Settings
from .predictor import Predictor, make_predictor
from .problems import Refused
from .validation import Validator

if TYPE_CHECKING:
    from ...artifacts.store import ArtifactStore
    from ...security.credentials import Credentials
    from .settings import Release

logger = logging.getLogger(__name__)


def describe_store(store: ArtifactStore) -> dict[str, Any]:
    """How to build the same store in another process: its class and its options, which hold no secrets."""
    return store.describe()


def build_store(description: Mapping[str, Any], home: str, credentials: Credentials | None = None) -> ArtifactStore:
    """The store of a release; in a server its credentials come from ``AIRFLOW_CONN_<ID>`` of this process."""
    module, _, name = description["class"].partition(":")
    cls = getattr(importlib.import_module(module), name)
    context = ComponentContext(Settings.load({"home": home}, environ={}), credentials or EnvironmentCredentials())
    return cast("ArtifactStore", cls.from_mapping(description["config"], context))


def load_predictor(release: Release, store: ArtifactStore) -> tuple[Predictor, Validator]:
    """Load the model, verify its digest, and let it answer its own example.

    Raises what ``artifacts.load`` raises (``ArtifactCorrupted``, ``PickleRefused``…), and ``DeploymentFailed`` when
    the model does not answer.
    """
    from ...artifacts.saving import load

    model = load(release.artifact, store, allow_pickle=release.allow_pickle, verify=True)
    example = _rows(release.example)
    predictor = make_predictor(model, release.input_schema, example)
    validator = Validator(predictor.schema, max_rows=release.limits.max_rows, nulls_are_nan=predictor.wants_array)
    _answer_example(predictor, validator, example, release)
    return predictor, validator


def _answer_example(
    predictor: Predictor, validator: Validator, example: list[dict[str, Any]], release: Release
) -> None:
    what = f"{release.model} version {release.version}"
    if not example:
        example = [{f.name: None if f.nullable else _NEUTRAL[f.type] for f in predictor.schema.features}]
        try:
            predictor.predict(validator.mappings(example))
        except Exception as error:  # noqa: BLE001 - made-up values may rightly be refused by the model
            logger.warning("%s has no example, and did not answer neutral values: %s", what, error)
        return
    try:
        rows = validator.mappings(example)
    except Refused as refusal:
        raise DeploymentFailed(
            f"The example of {what} does not fit its own input schema: {refusal.message}",
            hint="Register the model again with an example of its features.",
        ) from None
    try:
        predictor.predict(rows)
    except WindsockError:
        raise
    except Exception as error:
        raise DeploymentFailed(
            f"{what} could not answer its own example: {type(error).__name__}: {error}",
            hint="Its libraries may have other versions here than where it was trained.",
        ) from error


_NEUTRAL: dict[str, Any] = {"float": 0.0, "int": 0, "bool": False, "string": ""}


def _rows(example: Any) -> list[dict[str, Any]]:
    """The example as a list of rows; a single row may stand without its list."""
    if isinstance(example, Mapping):
        return [dict(example)]
    return [dict(row) for row in example or () if isinstance(row, Mapping)]


def spool_folder(home: str | Path, deployment: str) -> Path:
    """Where the rows of a deployment wait until they are in the prediction log."""
    return Path(home) / "deployments" / deployment / "spool"
