"""The two ways to ask: plain JSON and the Open Inference Protocol v2 (KServe, Triton, Seldon).

Both are read into rows and written from answers here; nothing in this module knows HTTP or the model. The protocol:
https://github.com/kserve/open-inference-protocol (``specification/protocol/inference_rest.md``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from .problems import Refused, suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...predictions.schema import InputSchema
    from .validation import Validator

DATATYPES = {"float": "FP64", "int": "INT64", "bool": "BOOL", "string": "BYTES"}
_INTEGERS = frozenset(("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"))
_KNOWN = frozenset(("BOOL", "BYTES", "FP16", "FP32", "FP64")) | _INTEGERS


@dataclass
class Asked:
    """One request: its rows in the order of the schema, and the id that the client gave it."""

    rows: list[list[Any]]
    client_id: str | None = None
    outputs: Sequence[str] | None = None


@dataclass
class Answered:
    """The model's answer for some rows. ``probabilities`` has one list for each row.

    ``matrix`` is the array that the model was given, when all features are floats: the log takes it as it is.
    """

    predictions: list[Any]
    probabilities: list[list[float]] | None
    matrix: Any = None


def read_json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"The body is not JSON: {error}.") from None


def read_plain(body: bytes, validator: Validator) -> Asked:
    """``{"instances": [{…}, …]}``, ``{"columns": […], "data": [[…], …]}``, a list of rows, or one bare row."""
    data = read_json(body)
    if isinstance(data, dict):
        if "instances" in data and "instances" not in validator.schema.names:
            _only(data, ("instances",))
            return Asked(_rows(data["instances"], validator))
        if "data" in data and "columns" in data:
            _only(data, ("columns", "data"))
            if not isinstance(data["data"], list):
                raise Refused(422, '"data" must be a list of rows.')
            return Asked(validator.sequences(data["data"], data["columns"]))
        return Asked(validator.mappings([data]))
    return Asked(_rows(data, validator))


def _rows(items: Any, validator: Validator) -> list[list[Any]]:
    if not isinstance(items, list):
        raise Refused(422, '"instances" must be a list of rows.')
    if items and isinstance(items[0], list):
        return validator.sequences(items)
    return validator.mappings(items)


def _only(data: Mapping[str, Any], allowed: Sequence[str]) -> None:
    for key in data:
        if key not in allowed:
            raise Refused(422, f'"{key}" is not part of a request: {suggestion(key, allowed)}.')


def plain_answer(answered: Answered, schema: InputSchema, model: str, version: int) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "predictions": answered.predictions,
        "probabilities": answered.probabilities,
        "model_name": model,
        "model_version": version,
    }
    if answered.probabilities is not None:
        answer["classes"] = schema.outputs.classes
    return answer


def read_infer(body: bytes, validator: Validator) -> Asked:
    """One tensor for each feature, or a single 2-D tensor with the features as columns."""
    data = read_json(body)
    if not isinstance(data, dict) or not isinstance(data.get("inputs"), list) or not data["inputs"]:
        raise Refused(400, 'An inference request is an object with a list "inputs".')
    client_id = data.get("id")
    if client_id is not None and not isinstance(client_id, str):
        raise Refused(400, '"id" must be a string.')
    tensors = [_tensor(item, index) for index, item in enumerate(data["inputs"])]
    if len(tensors) == 1 and tensors[0][0] not in validator.schema.names:
        rows = _matrix(tensors[0], validator)
    else:
        rows = _by_feature(tensors, validator)
    outputs = data.get("outputs")
    return Asked(rows, client_id, _wanted(outputs, validator.schema) if outputs else None)


def _tensor(item: Any, index: int) -> tuple[str, list[int], list[Any]]:
    """Name, shape and flat data of one input, checked against each other."""
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise Refused(400, f'Input {index} needs a "name".')
    name, shape, datatype, data = item["name"], item.get("shape"), item.get("datatype"), item.get("data")
    if datatype not in _KNOWN:
        raise Refused(
            400, f'Input "{name}": datatype {datatype!r} is not known: {suggestion(str(datatype), sorted(_KNOWN))}.'
        )
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape) or not shape:
        raise Refused(400, f'Input "{name}": "shape" must be a list of sizes.')
    if not isinstance(data, list):
        raise Refused(400, f'Input "{name}": "data" must be a list (binary tensors are not supported).')
    flat = _flat(data)
    size = 1
    for length in shape:
        size *= length
    if size != len(flat):
        raise Refused(400, f'Input "{name}": shape {shape} means {size} values, and the data have {len(flat)}.')
    return name, shape, flat


def _flat(data: list[Any]) -> list[Any]:
    """Row-major values; the protocol allows nested lists as well."""
    while data and isinstance(data[0], list):
        if not all(isinstance(row, list) for row in data):
            raise Refused(400, "Nested tensor data must be nested evenly.")
        data = [value for row in data for value in row]
    return data


def _matrix(tensor: tuple[str, list[int], list[Any]], validator: Validator) -> list[list[Any]]:
    name, shape, flat = tensor
    width = len(validator.names)
    if len(shape) != 2 or shape[1] != width:
        known = suggestion(name, validator.names)
        raise Refused(
            422,
            f'Input "{name}" has shape {shape}; send [rows, {width}] in the order of the features, or one input '
            f"for each feature ({known}).",
            problems=[{"row": 0, "feature": name, "problem": f"has shape {shape}, not [rows, {width}]"}],
        )
    validator.check_count(shape[0])
    return validator.sequences([flat[i : i + width] for i in range(0, len(flat), width)])


def _by_feature(tensors: Sequence[tuple[str, list[int], list[Any]]], validator: Validator) -> list[list[Any]]:
    columns = {name: flat for name, _, flat in tensors}
    if len(columns) != len(tensors):
        raise Refused(400, "Two inputs have the same name.")
    lengths = {name: len(flat) for name, flat in columns.items()}
    rows = max(lengths.values())
    validator.check_count(rows)
    for name, shape, flat in tensors:
        if len(flat) != rows or len(shape) > 2 or (len(shape) == 2 and shape[1] != 1):
            problem = f"has shape {shape}; every feature needs [{rows}] or [{rows}, 1]"
            raise Refused(422, f'Input "{name}" {problem}.', problems=[{"row": 0, "feature": name, "problem": problem}])
    values = zip(*columns.values(), strict=True)
    return validator.mappings([dict(zip(columns, row, strict=True)) for row in values])


def _wanted(outputs: Any, schema: InputSchema) -> list[str]:
    known = output_names(schema)
    names = (
        [item.get("name") if isinstance(item, dict) else None for item in outputs]
        if isinstance(outputs, list)
        else [None]
    )
    for name in names:
        if name not in known:
            raise Refused(400, f"Output {name!r} is not known: {suggestion(str(name), known)}.")
    return [str(name) for name in names]


def output_names(schema: InputSchema) -> list[str]:
    return ["predict", "predict_proba"] if schema.outputs.classes is not None else ["predict"]


def infer_answer(answered: Answered, asked: Asked, schema: InputSchema, model: str, version: int) -> dict[str, Any]:
    rows = len(answered.predictions)
    wanted = asked.outputs or output_names(schema)
    outputs: list[dict[str, Any]] = []
    if "predict" in wanted:
        datatype = DATATYPES[schema.outputs.prediction]
        outputs.append({"name": "predict", "shape": [rows], "datatype": datatype, "data": answered.predictions})
    if "predict_proba" in wanted and answered.probabilities is not None:
        flat = [value for row in answered.probabilities for value in row]
        shape = [rows, len(answered.probabilities[0])]
        outputs.append({"name": "predict_proba", "shape": shape, "datatype": "FP64", "data": flat})
    return {"model_name": model, "model_version": str(version), "outputs": outputs}


def model_metadata(model: str, version: int, platform: str, schema: InputSchema) -> dict[str, Any]:
    """What ``GET /v2/models/{name}`` answers."""
    outputs: list[dict[str, Any]] = [
        {"name": "predict", "datatype": DATATYPES[schema.outputs.prediction], "shape": [-1]}
    ]
    if schema.outputs.classes is not None:
        outputs.append({"name": "predict_proba", "datatype": "FP64", "shape": [-1, len(schema.outputs.classes)]})
    return {
        "name": model,
        "versions": [str(version)],
        "platform": platform,
        "inputs": [{"name": f.name, "datatype": DATATYPES[f.type], "shape": [-1]} for f in schema.features],
        "outputs": outputs,
    }
