"""Writers and pruners at once, on real stores and both databases: nothing that is referred to is ever lost."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import racers
import retention_racers
from windsock.provider.metadata import Metadata
from windsock.provider.retention.orphans import owner
from windsock.provider.retention.policy import RetentionPolicy
from windsock.provider.retention.prune import prune

if TYPE_CHECKING:
    from pathlib import Path

TURNS = 10
GRACE = 0.6
"""Longer than a transaction, shorter than what passes between a writer's store and its record."""


@pytest.fixture
def place(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> tuple[str, ...]:
    """SQLite and MariaDB with local files, PostgreSQL with S3."""
    if not url.startswith("postgresql"):
        return ("local", str(tmp_path / "artifacts"))
    place = ("s3", str(request.getfixturevalue("moto_server")), f"races-{uuid.uuid4().hex[:12]}")
    retention_racers.store_at(place).filesystem.call_s3("create_bucket", Bucket=place[2])  # type: ignore[attr-defined]
    return place


class TestWritersAndPruners:
    def test_nothing_that_is_referred_to_is_lost(self, url: str, place: tuple[str, ...], tmp_path: Path) -> None:
        ended = tmp_path / "ended"
        ended.mkdir()
        turns = TURNS if url.startswith("sqlite") else TURNS // 2
        work = [("write", url, place, who, turns, str(ended)) for who in ("a", "b", "c")]
        work += [("prune", url, place, GRACE, 3, str(ended))] * 2
        done: Counter[str] = Counter()
        for counts in racers.at_once(retention_racers.act, work):
            done.update(counts)
        assert done["marked"] > 0
        assert done["read"] >= 3 * (2 * turns)
        assert done["failed"] == 0
        self._nothing_is_left_over(url, place)

    def _nothing_is_left_over(self, url: str, place: tuple[str, ...]) -> None:
        """What is needed is there, and nothing else, once everybody is done."""
        metadata, store = Metadata.open(url), retention_racers.store_at(place)
        policy = RetentionPolicy.of({"default": {"runs": retention_racers.KEPT}})
        for _ in range(3):
            prune(metadata, store, policy, grace=timedelta(seconds=0.01))
            time.sleep(0.02)
        kept = {
            version.uri
            for run in [run for who in "abc" for run in metadata.runs.list(pipeline=who, limit=retention_racers.KEPT)]
            for step in metadata.runs.steps(run.id)
            for version in metadata.runs.outputs(step.id).values()
        }
        kept |= {metadata.models.get(who, alias="production").artifact["uri"] for who in "abc"}
        assert {store.uri_of(owner(key)) for key in store.keys("objects/")} == kept
