"""``POST /feedback``: what the truth turned out to be, by the request id of the answer.

One ``{"request_id": "…", "label": 1}``, or ``{"labels": [{…}, …]}`` for many. Answered with 202 once the labels are on
this machine's disk; monitoring joins them to the prediction log.
"""

from __future__ import annotations

from typing import Any

import orjson

from ...predictions.request_ids import parse_request_id
from .problems import Refused

MOST = 10_000
"""Labels in one request."""


def read_feedback(body: bytes) -> list[tuple[bytes, Any]]:
    """``(request id, label)`` pairs. Raises ``Refused`` 422 and says which one is wrong."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(422, f"The body is no JSON: {error}.") from None
    rows = data.get("labels", [data]) if isinstance(data, dict) else data
    if not isinstance(rows, list) or not rows:
        raise Refused(422, 'Send {"request_id": "…", "label": …}, or {"labels": […]} with one or more of them.')
    if len(rows) > MOST:
        raise Refused(413, f"{len(rows):,} labels in one request; send at most {MOST:,}.")
    return [_label(row, place) for place, row in enumerate(rows)]


def _label(row: Any, place: int) -> tuple[bytes, Any]:
    where = f"Label {place}" if place else "The label"
    if not isinstance(row, dict) or "request_id" not in row or "label" not in row:
        raise Refused(422, f"{where} is not of the form {{request_id, label}}.")
    request_id, label = row["request_id"], row["label"]
    if not isinstance(request_id, str) or not request_id:
        raise Refused(422, f"{where}: request_id is to be the text that the answer had.")
    if not isinstance(label, (str, int, float, bool)):
        raise Refused(422, f"{where}: label is to be a text, a number, true or false.")
    return parse_request_id(request_id), label
