"""What a model takes and answers, as JSON: the input schema of a model version and the columns of its log.

One value serves three readers: the model server validates requests and builds the model's input from it, the
prediction log derives its columns from it, and the registry stores it. It knows four types, because JSON does: a
date reaches a model as the number or the string it was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

FeatureType = Literal["float", "int", "bool", "string"]
TYPES: tuple[FeatureType, ...] = ("float", "int", "bool", "string")

RESERVED = ("request_id", "ts", "prediction", "score", "latency_s", "sample_rate", "error")
"""The log's own columns. A feature of such a name is logged as ``feature.<name>``."""


@dataclass(frozen=True)
class Feature:
    """One input. ``dtype`` is what it was in the training data (``float32``, ``category``…), when that is known."""

    name: str
    type: FeatureType
    nullable: bool = False
    dtype: str | None = None

    @property
    def column(self) -> str:
        """Its name in the prediction log."""
        return f"feature.{self.name}" if self.name in RESERVED else self.name


@dataclass(frozen=True)
class Outputs:
    """What a prediction is. ``classes`` are in the order of the model's probabilities."""

    task: Literal["classification", "regression"] = "regression"
    prediction: FeatureType = "float"
    classes: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class InputSchema:
    """The features in the order the model was trained with, and the kind of its answer.

    ``frame``: the model was trained on named columns (a data frame), not on a bare array.
    """

    features: tuple[Feature, ...]
    target: str | None = None
    frame: bool = False
    outputs: Outputs = field(default_factory=Outputs)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> InputSchema:
        """Read the JSON form. Raises ``ConfigurationError`` naming what is wrong with it."""
        try:
            features = tuple(_feature(item) for item in data["features"])
            outputs = data.get("outputs") or {}
            classes = outputs.get("classes")
            schema = cls(
                features=features,
                target=data.get("target"),
                frame=bool(data.get("frame", False)),
                outputs=Outputs(
                    task=outputs.get("task", "regression"),
                    prediction=_type(outputs.get("prediction", "float"), "the prediction"),
                    classes=tuple(classes) if classes is not None else None,
                ),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"The model's input schema is not readable: {error!r}.") from None
        if not features or len(set(schema.names)) != len(features):
            raise ConfigurationError("The model's input schema needs at least one feature, and each name once.")
        return schema

    def to_dict(self) -> dict[str, Any]:
        """The JSON form (see ``ModelVersion.input_schema``)."""
        return {
            "features": [
                {"name": f.name, "type": f.type, "nullable": f.nullable} | ({"dtype": f.dtype} if f.dtype else {})
                for f in self.features
            ],
            "target": self.target,
            "frame": self.frame,
            "outputs": {
                "task": self.outputs.task,
                "prediction": self.outputs.prediction,
                "classes": list(self.outputs.classes) if self.outputs.classes is not None else None,
            },
        }


def _feature(item: Mapping[str, Any]) -> Feature:
    name = str(item["name"])
    return Feature(name, _type(item["type"], f'feature "{name}"'), bool(item.get("nullable", False)), item.get("dtype"))


def _type(name: str, what: str) -> FeatureType:
    for known in TYPES:
        if known == name:
            return known
    raise ConfigurationError(f"The type of {what} is {name!r}, which is no type.", hint=did_you_mean(name, TYPES))


def log_schema(schema: InputSchema, *, metadata: Mapping[str, str] | None = None) -> pa.Schema:
    """The Arrow schema of the prediction log of a model with this input schema.

    Every feature column is nullable, because a row of a refused request has none. ``score`` is the probability of
    ``classes[1]`` for two classes, the list of all probabilities for more, and null for a regression.
    """
    import pyarrow as pa

    types = {"float": pa.float64(), "int": pa.int64(), "bool": pa.bool_(), "string": pa.string()}
    many = schema.outputs.classes is not None and len(schema.outputs.classes) > 2
    return pa.schema(
        [
            pa.field("request_id", pa.binary(16), nullable=False),
            pa.field("ts", pa.timestamp("us", tz="UTC"), nullable=False),
            *(pa.field(feature.column, types[feature.type]) for feature in schema.features),
            pa.field("prediction", types[schema.outputs.prediction]),
            pa.field("score", pa.list_(pa.float64()) if many else pa.float64()),
            pa.field("latency_s", pa.float32()),
            pa.field("sample_rate", pa.float32()),
            pa.field("error", pa.string()),
        ],
        metadata=dict(metadata or {}),
    )


def infer_schema(data: Any, *, target: str | None = None, model: Any = None) -> dict[str, Any]:
    """The input schema of a model from its training or evaluation data, in its JSON form.

    ``data``: a pandas or polars frame, an Arrow table, a 2-D array (features ``x0, x1, …``) or a list of row
    mappings. ``model``, when given, knows best: its ``feature_names_in_`` choose and order the features, and it is
    asked for a few predictions to see what kind they are. Raises ``ConfigurationError`` for a column of a type that
    JSON cannot carry.
    """
    from .inference import columns_of, observe_outputs

    features, frame = columns_of(data, target)
    trained = [str(name) for name in getattr(model, "feature_names_in_", ())]
    if trained:
        by_name = {feature.name: feature for feature in features}
        missing = [name for name in trained if name not in by_name]
        if missing:
            raise ConfigurationError(
                f"The model was trained on {', '.join(map(repr, missing))}, which the data do not have.",
                hint="Give the data that the model was trained or evaluated on.",
            )
        features = tuple(by_name[name] for name in trained)
    outputs = observe_outputs(model, data, tuple(f.name for f in features)) if model is not None else Outputs()
    return InputSchema(features, target, frame, outputs).to_dict()


def example_rows(data: Any, schema: Mapping[str, Any] | InputSchema, *, n: int = 3) -> list[dict[str, Any]]:
    """The first ``n`` rows of ``data`` as plain JSON: what a server answers before it says that it is ready."""
    from .inference import head

    parsed = schema if isinstance(schema, InputSchema) else InputSchema.from_dict(schema)
    return head(data, parsed.names, n)


def plain(value: Any) -> Any:
    """A numpy or pandas scalar as the Python value that JSON knows; missing values become None."""
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if value is None or (isinstance(value, float) and value != value):  # noqa: PLR0124 - NaN is not itself
        return None
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def type_of(values: Sequence[Any]) -> FeatureType:
    """The type of plain values, nulls aside."""
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, bool) for value in present):
        return "bool"
    if present and all(isinstance(value, int) for value in present):
        return "int"
    if all(isinstance(value, (int, float)) for value in present):
        return "float"
    return "string"
