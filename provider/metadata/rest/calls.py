"""Calls that happen once: the answer is kept with what the call did, in one transaction.

A client whose connection is cut cannot know whether its call was heard, and calls again with the same key. Then it is
given the answer of the first time. Answers are kept for a day, which is far longer than any client goes on asking.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, delete, insert, select

from ...errors import MetadataError
from .. import schema
from ..columns import loads
from ..records import now
from .codec import encode_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..database import Database

KEPT = timedelta(days=1)
_SWEEP_ONE_IN = 500

_C = schema.call
_FIND = select(_C.c.method, _C.c.answer).where(_C.c.key == bindparam("of_key"))
_KEEP = insert(_C)
_FORGET = delete(_C).where(_C.c.at < bindparam("before"))


def once(database: Database, key: str, method: str, work: Callable[[], Any]) -> bytes:
    """The answer of ``work`` as JSON: done now, or when the key was first used. Raises what ``work`` raises."""

    def unit(connection: Connection) -> bytes:
        found = connection.execute(_FIND, {"of_key": key}).first()
        if found is not None:
            if found.method != method:
                raise MetadataError(f"The key of this call of {method} was used for {found.method}.")
            return encode_answer(found.answer["answer"])
        answer = encode_answer(work())
        # Two of the same key at once: one of them fails here, is repeated by the database, and finds the other.
        connection.execute(_KEEP, {"key": key, "method": method, "answer": {"answer": loads(answer)}, "at": now()})
        return answer

    answer = database.write(unit)
    if random.randrange(_SWEEP_ONE_IN) == 0:  # noqa: S311 - no secret
        database.write(lambda connection: connection.execute(_FORGET, {"before": now() - KEPT}))
    return answer
