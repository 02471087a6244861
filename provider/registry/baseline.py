"""The table that a baseline profile is made of: what the model was trained on, and what it says about it.

Its columns are named as those of the prediction log, so that a profile of live predictions compares column by column:
features, ``prediction`` and ``score``, besides the target, which a log gets when labels arrive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .comparison import as_frame

if TYPE_CHECKING:
    import pyarrow as pa

    from ..predictions.schema import InputSchema


def baseline_table(model: Any, rows: Any, schema: InputSchema) -> pa.Table:
    """Features (in the model's order), target if the rows have it, prediction, and score for two classes.

    The predictions are those on the training rows themselves, hence more certain than live ones: the drift test of the
    ``score`` column should be read with that in mind, the one of ``prediction`` hardly differs.
    """
    import pyarrow as pa

    frame = _named(rows, schema)
    features = frame[list(schema.names)]
    table = pa.Table.from_pandas(features, preserve_index=False)
    table = table.rename_columns([feature.column for feature in schema.features])
    if schema.target is not None and schema.target in frame.columns and schema.target not in table.column_names:
        table = table.append_column(schema.target, pa.array(frame[schema.target], from_pandas=True))
    asked = model_input(model, features, schema)
    table = table.append_column("prediction", _array(model.predict(asked)))
    classes = schema.outputs.classes
    if classes is not None and len(classes) == 2 and hasattr(model, "predict_proba"):
        table = table.append_column("score", pa.array(model.predict_proba(asked)[:, 1]))
    return table


def model_input(model: Any, features: Any, schema: InputSchema) -> Any:
    """A data frame, or an array for a model that was fitted on one (it would warn about names)."""
    if hasattr(model, "feature_names_in_") or (schema.frame and not hasattr(model, "n_features_in_")):
        return features
    return features.to_numpy()


def _named(rows: Any, schema: InputSchema) -> Any:
    import pandas as pd

    if isinstance(rows, list):
        return pd.DataFrame(rows)
    if hasattr(rows, "ndim") and hasattr(rows, "dtype"):
        return pd.DataFrame(rows, columns=list(schema.names))
    return as_frame(rows, "the baseline")


def _array(values: Any) -> pa.Array:
    import pyarrow as pa

    plain = values.tolist() if str(getattr(values, "dtype", "")) == "object" else values
    return pa.array(plain, from_pandas=True)
