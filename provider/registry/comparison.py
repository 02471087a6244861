"""What a gate can look at: the candidate, the version it would replace, and their models and data.

Everything is loaded on first use and once: five gates on one promotion read the evaluation data once, and a promotion
with metric gates only loads nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import RegistryError, WindsockError, did_you_mean
from .metrics import Metric, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..artifacts.store import ArtifactStore
    from ..metadata import ModelVersion


@dataclass(frozen=True)
class Rows:
    """Evaluation data: ``frame`` (a pandas DataFrame, target included), its target column, and where it came from."""

    frame: Any
    target: str
    label: str

    @property
    def count(self) -> int:
        return len(self.frame)

    @property
    def truth(self) -> Any:
        return self.frame[self.target].to_numpy()


@dataclass(frozen=True)
class Comparison:
    """A promotion that is being decided. Reads only; not for sharing between threads.

    ``current`` is the version that holds the target alias now, ``None`` if there is none. ``find_data`` looks up the
    reference of an artifact by name and version (None: the newest), for gates that compare on a fixed data set.
    """

    candidate: ModelVersion
    current: ModelVersion | None
    store: ArtifactStore | None = None
    allow_pickle: bool = False
    find_data: Callable[[str, int | None], Mapping[str, Any]] | None = None
    _loaded: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def model(self, version: ModelVersion) -> Any:
        """The loaded model of ``version``. Raises ``ArtifactError`` when it cannot be loaded."""
        return self._once(("model", version.version), lambda: self._load(version.artifact))

    def data(self, on: str = "evaluation", target: str | None = None) -> Rows:
        """The candidate's evaluation rows, or those of the artifact ``name`` or ``name@version``.

        Rows without a true value are left out. Raises ``RegistryError`` when there is nothing to measure on.
        """
        return self._once(("data", on, target), lambda: self._rows(on, target))  # type: ignore[no-any-return]

    def measure(self, version: ModelVersion, metric: Metric, rows: Rows) -> float:
        """``metric`` of ``version`` on ``rows``; each version gets the columns that it was registered with."""
        return self._once(  # type: ignore[no-any-return]
            ("measure", version.version, metric.name, id(rows)), lambda: self._measure(version, metric, rows)
        )

    def _measure(self, version: ModelVersion, metric: Metric, rows: Rows) -> float:
        model = self.model(version)
        features = features_for(model, version, rows)
        try:
            return measure(metric, model, features, rows.truth)
        except WindsockError:
            raise
        except Exception as error:  # a model may raise anything
            raise RegistryError(
                f"{metric.name} of {version.model} version {version.version} on {rows.label} failed: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _rows(self, on: str, target: str | None) -> Rows:
        ref = self._reference(on)
        label = f"{ref.get('artifact', on)}@{ref.get('version', '?')}"
        frame = as_frame(self._load(ref), label)
        column = target or (self.candidate.input_schema or {}).get("target")
        if column is None:
            raise RegistryError(
                f"Which column of {label} holds the true values is not known.",
                hint="Pass target=… to register_model(…) or to the gate.",
            )
        if column not in frame.columns:
            raise RegistryError(
                f'{label} has no column "{column}".', hint=did_you_mean(column, map(str, frame.columns))
            )
        labelled = frame[frame[column].notna()]
        if labelled.empty:
            raise RegistryError(f'{label} has no row with a true value in "{column}".')
        return Rows(labelled, column, label)

    def _reference(self, on: str) -> Mapping[str, Any]:
        candidate = self.candidate
        if on != "evaluation":
            if self.find_data is None:
                raise RegistryError(f'This registry cannot look up artifact "{on}".')
            name, _, version = on.partition("@")
            return self.find_data(name, int(version) if version.isdigit() else None)
        if candidate.evaluation is None:
            raise RegistryError(
                f"{candidate.model} version {candidate.version} was registered without evaluation data.",
                hint="Pass evaluation=… to register_model(…).",
            )
        return candidate.evaluation

    def _load(self, ref: Mapping[str, Any]) -> Any:
        if self.store is None:
            raise RegistryError("This registry has no artifact store, so it cannot load a model or its data.")
        from ..artifacts.saving import load

        return load(ref, self.store, allow_pickle=self.allow_pickle)

    def _once(self, key: Any, make: Any) -> Any:
        if key not in self._loaded:
            self._loaded[key] = make()
        return self._loaded[key]


def features_for(model: Any, version: ModelVersion, rows: Rows) -> Any:
    """The columns of ``rows`` that ``version`` wants, in its order; an array if it was fitted on one.

    Raises ``RegistryError`` naming the columns that are absent: an older version may need what new data lack.
    """
    schema = version.input_schema or {}
    names = [f["name"] for f in schema.get("features") or ()] or [
        str(n) for n in getattr(model, "feature_names_in_", [c for c in rows.frame.columns if c != rows.target])
    ]
    absent = [name for name in names if name not in rows.frame.columns]
    if absent:
        raise RegistryError(
            f"{version.model} version {version.version} needs {', '.join(absent)}, which {rows.label} does not have."
        )
    frame = rows.frame[names]
    # scikit-learn knows what it was fitted with; of anything else the schema says it.
    bare = hasattr(model, "n_features_in_") or not schema.get("frame", True)
    return frame.to_numpy() if bare and not hasattr(model, "feature_names_in_") else frame


def as_frame(value: Any, label: str) -> Any:
    """A pandas DataFrame of a table of any kind that Windsock stores (pandas, polars, Arrow)."""
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        return value
    for convert in ("to_pandas", "as_pandas"):
        if hasattr(value, convert):
            return getattr(value, convert)()
    raise RegistryError(f"{label} is a {type(value).__name__}, not a table.")
