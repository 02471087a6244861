"""A loaded model behind one call: rows in, predictions and probabilities out, both as plain Python lists.

How the model's input is built is decided once, when it is loaded:

- an array of numbers, when every feature is one and the model answers its own example alike with and without column
  names (40 times cheaper than a frame for one row);
- a data frame with the columns, order and dtypes of the training data otherwise;
- named tensors for ONNX.

It also knows the few estimators of scikit-learn whose ``predict`` is by definition the class of the greatest
probability, and asks them once instead of twice; forests it asks faster than they ask themselves (:mod:`.forests`).
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DeploymentFailed, MissingExtra
from ...predictions.schema import Feature, InputSchema, Outputs, plain, type_of
from .forests import fast_forest
from .protocols import Answered

Rows = Sequence[Sequence[Any]]


class Predictor(ABC):
    """``predict`` is called by one thread at a time. Raises whatever the model raises."""

    schema: InputSchema
    platform: str
    wants_array: bool
    """The model takes numbers only, so that a null of any type is NaN."""

    @abstractmethod
    def predict(self, rows: Rows) -> Answered: ...


def make_predictor(
    model: Any, schema: Mapping[str, Any] | None, example: Sequence[Mapping[str, Any]] | None
) -> Predictor:
    """The predictor for a loaded model. Raises ``DeploymentFailed`` when it is nothing that can be asked."""
    parsed = InputSchema.from_dict(schema) if schema else None
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    if isinstance(model, Path):
        model = model.read_bytes()
    if isinstance(model, (bytes, bytearray)):
        model = _onnx_session(bytes(model), kind)
    if hasattr(model, "get_inputs") and hasattr(model, "run"):
        return OnnxPredictor(model, parsed)
    if not callable(getattr(model, "predict", None)):
        raise DeploymentFailed(
            f"The artifact is a {kind}, which has no predict method and is no ONNX model.",
            hint="Deploy an estimator, a pipeline, the bytes of an ONNX model, or an object with predict(rows).",
        )
    return EstimatorPredictor(model, parsed or _schema_of(model), example)


class EstimatorPredictor(Predictor):
    """Anything with scikit-learn's ``predict`` and, for classifiers, ``predict_proba`` and ``classes_``."""

    def __init__(self, model: Any, schema: InputSchema, example: Sequence[Mapping[str, Any]] | None) -> None:
        self.model = model
        self.platform = type(model).__module__.partition(".")[0]
        _one_thread(model)
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        known = getattr(model, "classes_", None)
        classes = tuple(plain(item) for item in known) if known is not None and np.ndim(known) == 1 else None
        self._classes = np.asarray(known) if classes is not None else None
        self._probable = classes is not None and callable(getattr(model, "predict_proba", None))
        self._once = self._probable and _predicts_the_most_probable(model)
        outputs = schema.outputs
        if self._probable and classes is not None:
            outputs = Outputs("classification", type_of(classes), classes)
        elif outputs.classes is not None:
            outputs = Outputs(outputs.task, outputs.prediction, None)
        self.schema = InputSchema(schema.features, schema.target, schema.frame, outputs)
        self._floats = all(f.type == "float" for f in schema.features)
        self._dtypes = {f.name: f.dtype for f in schema.features if f.dtype in _RESTORED}
        self._forest: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]] | None = None
        self.wants_array = all(f.type != "string" for f in schema.features) and (
            not schema.frame or self._same_without_names(example or [])
        )
        if self.wants_array:
            self._forest = fast_forest(model, self._array(example) if example else None)

    def predict(self, rows: Rows) -> Answered:
        if not self.wants_array:
            return self._answer(self._frame(rows))
        matrix = np.array(rows, dtype=np.float64)
        answered = self._answer(matrix)
        if self._floats:
            answered.matrix = matrix
        return answered

    def _answer(self, data: Any) -> Answered:
        ask = self._forest if self._forest is not None and isinstance(data, np.ndarray) else None
        probabilities = (ask or self.model.predict_proba)(data) if self._probable else None
        if self._once and self._classes is not None:
            answers = self._classes.take(np.argmax(np.asarray(probabilities), axis=1))
        else:
            answers = (ask if ask is not None and not self._probable else self.model.predict)(data)
        answers = np.asarray(answers)
        if answers.ndim == 2 and answers.shape[1] == 1:
            answers = answers[:, 0]
        if answers.shape != (len(data),):
            raise DeploymentFailed(f"The model answered {len(data)} rows with an array of shape {answers.shape}.")
        listed = None if probabilities is None else np.asarray(probabilities, dtype=np.float64).tolist()
        return Answered(_conform(answers, self.schema.outputs.prediction), listed)

    def _frame(self, rows: Rows) -> Any:
        import pandas as pd

        columns = dict(zip(self.schema.names, (list(column) for column in zip(*rows, strict=True)), strict=True))
        frame = pd.DataFrame(columns)
        return frame.astype(self._dtypes) if self._dtypes else frame

    def _array(self, example: Sequence[Mapping[str, Any]]) -> np.ndarray[Any, Any]:
        nan = float("nan")
        rows = [[nan if row.get(name) is None else row[name] for name in self.schema.names] for row in example]
        return np.array(rows, dtype=np.float64)

    def _same_without_names(self, example: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a bare array gives the example's answers that a frame gives; no example is no proof."""
        if not example:
            return False
        try:
            array = self._array(example)
            named, bare = self._answer(self._frame(array.tolist())), self._answer(array)
        except Exception:  # noqa: BLE001 - any failure of the bare array means: give it the frame
            return False
        return _close(named.predictions, bare.predictions) and _close(named.probabilities, bare.probabilities)


class OnnxPredictor(Predictor):
    """An ONNX Runtime session: one 2-D input of all features, or one input for each feature."""

    def __init__(self, session: Any, schema: InputSchema | None) -> None:
        self.session = session
        self.platform = "onnxruntime"
        self._inputs = session.get_inputs()
        self._single = len(self._inputs) == 1
        self.wants_array = self._single
        if schema is None:
            schema = self._own_schema()
        names = [output.name for output in session.get_outputs()]
        self._label = names[0]
        self._scores = next((name for name in names if "prob" in name.lower() or "score" in name.lower()), None)
        if self._scores == self._label:
            self._scores = None
        outputs = schema.outputs
        if self._scores is None and outputs.classes is not None:
            outputs = Outputs(outputs.task, outputs.prediction, None)
        elif self._scores is not None and outputs.classes is None:
            width = session.get_outputs()[names.index(self._scores)].shape[-1:]
            count = width[0] if width and isinstance(width[0], int) else 2
            outputs = Outputs("classification", "int", tuple(range(count)))
        self.schema = InputSchema(schema.features, schema.target, schema.frame, outputs)

    def predict(self, rows: Rows) -> Answered:
        wanted = [self._label] if self._scores is None else [self._label, self._scores]
        results = self.session.run(wanted, self._feed(rows))
        answers = np.asarray(results[0]).reshape(len(rows), -1)[:, 0]
        listed = None
        if self._scores is not None:
            scores = results[1]
            if len(scores) and isinstance(scores[0], dict):  # a ZipMap: one mapping of class to probability a row
                scores = [[row[key] for key in row] for row in scores]
            listed = np.asarray(scores, dtype=np.float64).tolist()
        return Answered(_conform(answers, self.schema.outputs.prediction), listed)

    def _feed(self, rows: Rows) -> dict[str, Any]:
        if self._single:
            return {self._inputs[0].name: np.array(rows, dtype=_NUMPY.get(self._inputs[0].type, np.float32))}
        columns = dict(zip(self.schema.names, zip(*rows, strict=True), strict=True))
        return {
            item.name: np.array(columns[item.name], dtype=_NUMPY.get(item.type, object)).reshape(-1, 1)
            for item in self._inputs
        }

    def _own_schema(self) -> InputSchema:
        if self._single:
            width = self._inputs[0].shape[-1]
            if not isinstance(width, int):
                raise _no_schema("ONNX model")
            return InputSchema(tuple(Feature(f"x{index}", "float") for index in range(width)))
        kinds: dict[str, Any] = {"tensor(string)": "string", "tensor(int64)": "int", "tensor(bool)": "bool"}
        return InputSchema(tuple(Feature(item.name, kinds.get(item.type, "float")) for item in self._inputs))


def _close(one: list[Any] | None, other: list[Any] | None) -> bool:
    """Equal, but for the last bits of floats: frames and arrays lie differently in memory, and sums differ by that."""
    if one == other:
        return True
    try:
        return bool(np.allclose(np.asarray(one, dtype=float), np.asarray(other, dtype=float), rtol=1e-9, atol=0.0))
    except (TypeError, ValueError):
        return False


_NUMPY: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": object,
}
_RESTORED = frozenset(("category", "float32", "Int64", "Float64", "boolean", "string", "int32", "int16", "int8"))
"""Dtypes that are not what pandas makes of plain values by itself."""


def _onnx_session(content: bytes, kind: str) -> Any:
    """An ONNX model runs no code of whoever wrote it: it may be loaded from bytes."""
    try:
        from onnxruntime import InferenceSession
    except ImportError:
        raise MissingExtra(
            f"The artifact is a {kind}; serving an ONNX model needs onnxruntime.",
            hint="Run: pip install 'airflow-provider-windsock[onnx]'",
        ) from None
    try:
        return InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - onnxruntime has an exception for each of its states
        raise DeploymentFailed(
            f"The artifact is a {kind}, but no ONNX model: {str(error)[:200]}",
            hint="Deploy what a training step returned: an estimator, or the bytes of an ONNX model.",
        ) from None


def _schema_of(model: Any) -> InputSchema:
    """What a model without a recorded schema says about itself: names, or at least how many features."""
    names = [str(name) for name in getattr(model, "feature_names_in_", ())]
    if not names:
        names = [f"x{index}" for index in range(int(getattr(model, "n_features_in_", 0)))]
    if not names:
        raise _no_schema(type(model).__name__)
    return InputSchema(tuple(Feature(name, "float", nullable=True) for name in names))


def _no_schema(what: str) -> DeploymentFailed:
    return DeploymentFailed(
        f"The model version has no input schema, and the {what} does not say how many features it takes.",
        hint="Register the model with its input schema (register_model with a baseline makes one).",
    )


def _one_thread(model: Any) -> None:
    """Starting threads for a few rows costs more than the rows; the answers do not depend on it."""
    try:
        found = {key: 1 for key in model.get_params(deep=True) if key == "n_jobs" or key.endswith("__n_jobs")}
        if found:
            model.set_params(**found)
    except Exception:  # noqa: BLE001 - a model need not have parameters; this is only an economy
        return


def _predicts_the_most_probable(model: Any) -> bool:
    """Estimators whose own ``predict`` takes the argmax of ``predict_proba`` (sklearn/ensemble/_forest.py,
    sklearn/tree/_classes.py); also behind a pipeline, which hands both methods on."""
    steps = getattr(model, "steps", None)
    last = steps[-1][1] if isinstance(steps, list) and steps else model
    module = type(last).__module__
    name = type(last).__name__
    return module in ("sklearn.ensemble._forest", "sklearn.tree._classes") and name.endswith("Classifier")


def _conform(answers: Any, kind: str) -> list[Any]:
    """Predictions as JSON values of the declared type (a float label 1.0 of an int model is 1)."""
    values: list[Any] = answers.tolist()
    if kind == "int" and values and isinstance(values[0], (float, bool)):
        return [int(value) for value in values]
    if kind == "bool" and values and not isinstance(values[0], bool):
        return [bool(value) for value in values]
    if kind == "float" and values and isinstance(values[0], int):
        return [float(value) for value in values]
    return [str(value) for value in values] if kind == "string" else values
