"""Refusals of the model server: what a client did wrong, in JSON that names the feature."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Refused(Exception):
    """A request that is answered with an error and not with a prediction.

    ``feature`` is the first feature that is wrong; ``problems`` lists all of them (at most 20), each
    ``{"row": int, "feature": str, "problem": str}``.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        problems: Sequence[Mapping[str, Any]] = (),
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.problems = problems
        self.headers = headers

    def body(self, request_id: str | None = None) -> bytes:
        answer: dict[str, Any] = {"error": self.message}
        if self.problems:
            answer["feature"] = self.problems[0]["feature"]
            answer["problems"] = list(self.problems[:20])
        if request_id:
            answer["request_id"] = request_id
        return orjson.dumps(answer)


def wrong_features(problems: Sequence[Mapping[str, Any]]) -> Refused:
    """The 422 for rows that do not fit the schema; its message is the first problem in words."""
    first = problems[0]
    more = f" ({len(problems) - 1} more problems)" if len(problems) > 1 else ""
    return Refused(
        422, f'Row {first["row"]}: feature "{first["feature"]}" {first["problem"]}{more}.', problems=problems
    )


def suggestion(asked: str, known: Sequence[str]) -> str:
    """Like ``did_you_mean``, short enough for models of a thousand features."""
    close = get_close_matches(asked, known, n=1)
    listing = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
    return f'did you mean "{close[0]}"?' if close else f"known are {listing}"
