"""What is needed, and what is not: one look over the metadata, with a policy in hand.

Needed is what a run that is kept has read or made; what an active model version, an alias or a deployment (its
previous version included) reaches: model, baseline, evaluation data; what nobody made in a run (recorded by hand, data
sets); what is younger than the grace period; and what the metadata of any of these name (previews, parts).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from ..errors import ArtifactCorrupted, ArtifactNotFound
from .policy import kept_runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta

    from ..artifacts.store import ArtifactStore
    from ..metadata.reach import ContentFacts
    from ..metadata.store import Metadata
    from .policy import RetentionPolicy

MANIFEST = "windsock.DatasetVersion"
"""Type of an artifact whose content is a list of other content; see ``provider/datasets``."""

_NAMED = re.compile(r"objects/[0-9a-f]{2}/[0-9a-f]{64}[^\s\"'\\,}\]]*")


def fingerprint(uri: str) -> int:
    """64 bits of a URI: a million of them fit into memory. Two that agree are both kept, which does no harm."""
    return int.from_bytes(blake2b(uri.encode(), digest_size=8).digest(), "big")


@dataclass
class Survey:
    """``expired``: URI to size of content that nothing needs. ``known``: fingerprints of all that metadata names."""

    runs_kept: int = 0
    runs_expired: int = 0
    versions_kept: int = 0
    versions_expired: int = 0
    expired: dict[str, int] = field(default_factory=dict)
    known: set[int] = field(default_factory=set)


def survey(
    metadata: Metadata, store: ArtifactStore, policy: RetentionPolicy, now: datetime, young: timedelta
) -> Survey:
    """Look at everything; changes nothing. What is younger than ``young`` is needed.

    Raises ``MetadataUnavailable`` and ``StoreUnavailable``.
    """
    runs, expired = kept_runs(metadata.reach.runs(), policy, now)
    result = Survey(runs_kept=len(runs), runs_expired=expired)
    reached = metadata.reach.versions_of_runs(runs) | metadata.reach.versions_of_models()
    naming = metadata.reach.naming()
    needed: set[int] = set()
    for content in metadata.reach.contents():
        uris = [content.uri, *_named(content, naming.get(content.id), store)]
        prints = [fingerprint(uri) for uri in uris]
        result.known.update(prints)
        if content.producer is None or content.id in reached or now - content.created_at < young:
            result.versions_kept += 1
            needed.update(prints)
        else:
            result.versions_expired += 1
            result.expired |= {uri: content.size if uri == content.uri else 0 for uri in uris}
    result.known.update(fingerprint(uri) for uri in metadata.reach.reports())
    mine = f"{store.root}/"
    result.expired = {
        uri: size
        for uri, size in result.expired.items()
        if uri.startswith(mine) and fingerprint(uri) not in needed  # the same bytes under a name that is needed
    }
    return result


def _named(content: ContentFacts, metadata: Any, store: ArtifactStore) -> Iterator[str]:
    """Content that a version's metadata, or its own content, names."""
    if metadata:
        text = metadata if isinstance(metadata, str) else json.dumps(metadata, ensure_ascii=False)
        yield from (store.uri_of(found) for found in _NAMED.findall(text))
    if content.type == MANIFEST and content.uri.startswith(f"{store.root}/"):
        try:
            manifest = store.get_bytes(content.uri)
        except (ArtifactNotFound, ArtifactCorrupted):
            return  # then its parts are nobody's
        yield from (store.uri_of(found) for found in _NAMED.findall(manifest.decode("utf-8", "replace")))
