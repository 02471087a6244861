"""Two processes register and promote 200 times each, at once, against real databases."""

from __future__ import annotations

import multiprocessing
from collections import Counter

import pytest
from windsock.provider.errors import PromotionConflict
from windsock.provider.metadata import Metadata, NewArtifact, NewModelVersion
from windsock.provider.registry.models import NativeModelRegistry

TIMES = 200


@pytest.fixture(params=["sqlite", "upgraded_postgres"], ids=["sqlite", "postgres"])
def database_url(request):
    return request.getfixturevalue(f"{request.param}_url")


def register_and_promote(url, who, start, results):
    registry = NativeModelRegistry.over(Metadata.open(url))
    artifact = artifact_of(registry).ref()
    start.wait()
    registered, promoted, conflicts = [], 0, 0
    for n in range(TIMES):
        new = NewModelVersion(model="churn", artifact=artifact, source=f"{who}/{n}", metrics={"accuracy": n / TIMES})
        version = registry.register(new).version
        registered.append(version)
        while True:
            try:
                promoted += registry.promote(
                    "churn", version=version, gates=["accuracy>=0"], actor=who, reason=str(n)
                ).changed
                break
            except PromotionConflict:
                conflicts += 1
    results.put((who, registered, promoted, conflicts))


def artifact_of(registry):
    return registry.metadata.artifacts.record(
        NewArtifact(artifact="churn.train", uri="file:///m", digest="blake3:0", size=1, type="sklearn.Model")
    )


class TestTwoProcesses:
    def test_no_number_twice_and_no_move_lost(self, database_url):
        registry = NativeModelRegistry.over(Metadata.open(database_url))
        artifact_of(registry)
        spawn = multiprocessing.get_context("spawn")
        start, results = spawn.Barrier(2), spawn.Queue()
        processes = [
            spawn.Process(target=register_and_promote, args=(database_url, who, start, results))
            for who in ("ada", "bob")
        ]
        for process in processes:
            process.start()
        done = [results.get(timeout=240) for _ in processes]
        for process in processes:
            process.join(30)
            assert process.exitcode == 0

        numbers = [version for _, registered, _, _ in done for version in registered]
        assert sorted(numbers) == list(range(1, 2 * TIMES + 1))
        moves = registry.history("churn", "production", limit=10_000)[::-1]
        assert len(moves) == 2 * TIMES
        assert [move.from_version for move in moves] == [None, *(move.to_version for move in moves[:-1])]
        assert Counter(move.actor for move in moves) == {who: promoted for who, _, promoted, _ in done}
        assert sorted(move.to_version for move in moves) == sorted(numbers)
        alias = registry.metadata.models.aliases("churn")["production"]
        assert (alias.version, alias.revision) == (moves[-1].to_version, len(moves))
