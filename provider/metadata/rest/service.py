"""The server's side: one call, from the bytes that came to the bytes that go."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...errors import MetadataError
from .calls import once
from .codec import encode_answer
from .methods import find_method

if TYPE_CHECKING:
    from ..store import Metadata
    from .access import Caller

_KEY = re.compile(r"[0-9a-f]{32}")


def answer(metadata: Metadata, caller: Caller, noun: str, name: str, body: bytes, *, key: str | None = None) -> bytes:
    """Do what was asked, as far as the caller may.

    Raises ``NotPermitted``, ``MetadataError`` for arguments that do not fit, and whatever the method raises.
    """
    method = find_method(noun, name)
    arguments = caller.permit(method, method.parse(body), metadata)
    function = getattr(getattr(metadata, noun), name)
    if not method.access.once:
        return encode_answer(function(**arguments))
    if key is None or not _KEY.fullmatch(key):
        raise MetadataError(
            f"{method.path} was called over REST without a key, and might happen twice.",
            hint="Send 32 hexadecimal digits of your own as the header Windsock-Key.",
        )
    return once(metadata.database, key, method.path, lambda: function(**arguments))
