"""The tables that a baseline profile is made of: what the model was trained on, and what it says.

Their columns are named as those of the prediction log, so that a profile of live predictions compares column by column:
features, ``prediction`` and ``score``, besides the target, which a log gets when labels arrive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .comparison import as_frame

if TYPE_CHECKING:
    import pyarrow as pa

    from ..predictions.schema import InputSchema


def input_table(rows: Any, schema: InputSchema) -> pa.Table:
    """Features in the model's order, and the target if the rows have it."""
    import pyarrow as pa

    frame = _named(rows, schema)
    table = pa.Table.from_pandas(frame[list(schema.names)], preserve_index=False)
    table = table.rename_columns([feature.column for feature in schema.features])
    if schema.target is not None and schema.target in frame.columns and schema.target not in table.column_names:
        table = table.append_column(schema.target, pa.array(frame[schema.target], from_pandas=True))
    return table


def output_table(model: Any, rows: Any, schema: InputSchema) -> pa.Table:
    """``prediction`` of every row, and ``score`` if the model tells two classes apart by a probability.

    On rows that the model was trained on it is surer of itself than it will be of live ones, which the test of
    ``score`` then takes for drift: give it rows that it has not seen, if there are any.
    """
    import pyarrow as pa

    asked = model_input(model, _named(rows, schema)[list(schema.names)], schema)
    columns = {"prediction": _array(model.predict(asked))}
    classes = schema.outputs.classes
    if classes is not None and len(classes) == 2 and hasattr(model, "predict_proba"):
        columns["score"] = pa.array(model.predict_proba(asked)[:, 1])
    return pa.table(columns)


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
