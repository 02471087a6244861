"""The step cache: the key of a step run, and whether what an earlier run left under it can still be used.

The key is a digest of the step's source with the project code that it calls (``source.py``), its arguments, the
digests of its input artifacts, the names of its outputs and its configuration. Versions and places of the inputs are
left out on purpose: an upstream step that ran again and made the same bytes keeps everything downstream cached.
Versions of installed libraries are left out too; they are recorded with the pipeline version.

The key is looked up per pipeline and step. A hit whose bytes are gone from the store is a miss.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from .source import source_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..artifacts.store import ArtifactStore
    from .binding import Binder, Target
    from .invocation import StepInvocation

_FORMAT = 1
"""Raise it when the meaning of a key changes: every older entry then misses."""


def cache_key(invocation: StepInvocation, target: Target, binder: Binder, store: ArtifactStore) -> str | None:
    """32 hex characters, or None when the step cannot be cached: its code or an argument has no stable digest."""
    source = source_digest(target.source)
    if source is None:
        return None
    parts = [
        _FORMAT,
        source,
        invocation.function.partition(":")[2],
        binder.key(store),
        [output.name for output in invocation.outputs],
        invocation.config,
    ]
    try:
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError):
        return None
    return blake2b(text.encode(), digest_size=16).hexdigest()


def usable(outputs: Mapping[str, Mapping[str, Any]], invocation: StepInvocation, store: ArtifactStore) -> bool:
    """Are all declared outputs there, with their bytes still in the store?"""
    from ..artifacts.saving import available

    return all(name in outputs for name, *_ in invocation.outputs) and all(
        available(ref, store) for ref in outputs.values()
    )
