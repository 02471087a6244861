"""Every prediction finds its true value, whatever the ids look like."""

from __future__ import annotations

import uuid

import numpy as np
import pyarrow as pa
import pytest
from windsock.provider.predictions import joining
from windsock.provider.predictions.joining import ids_of, match_ids


def by_hand(wanted: np.ndarray, known: np.ndarray) -> dict[int, int]:
    """The last equal row, one by one."""
    table = {row.tobytes(): i for i, row in enumerate(known)}
    return {i: table[row.tobytes()] for i, row in enumerate(wanted) if row.tobytes() in table}


def matched(wanted: np.ndarray, known: np.ndarray) -> dict[int, int]:
    left, right = match_ids(wanted, known)
    assert len(left) == len(set(left.tolist()))
    return dict(zip(left.tolist(), right.tolist(), strict=True))


class TestMatching:
    @pytest.mark.parametrize("seed", range(30))
    def test_repeated_ids_match_the_last(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        wanted, known = (random.integers(0, 6, (random.integers(0, 80), 2)).astype(np.uint64) for _ in range(2))
        assert matched(wanted, known) == by_hand(wanted, known)

    @pytest.mark.parametrize("seed", range(30))
    def test_ids_whose_hashes_collide(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(joining, "_hash", lambda ids: (ids[:, 0] % 3).astype(np.uint64) << np.uint64(60))
        random = np.random.default_rng(seed)
        wanted, known = (random.integers(0, 6, (random.integers(0, 80), 2)).astype(np.uint64) for _ in range(2))
        assert matched(wanted, known) == by_hand(wanted, known)

    def test_uuids_of_one_machine(self) -> None:
        """Version 1: the same last eight bytes in all of them."""
        ids = [uuid.uuid1(node=1, clock_seq=1).bytes for _ in range(20_000)]
        whole = np.frombuffer(b"".join(ids), np.uint64).reshape(-1, 2)
        left, right = match_ids(whole, whole[::-1].copy()[:15_000])
        assert sorted(left.tolist()) == list(range(5_000, 20_000))
        assert (19_999 - left == right).all()

    def test_slices_of_the_work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(joining, "_SLICE", 7)
        random = np.random.default_rng(1)
        wanted, known = (random.integers(0, 9, (100, 2)).astype(np.uint64) for _ in range(2))
        assert matched(wanted, known) == by_hand(wanted, known)

    def test_a_million(self) -> None:
        random = np.random.default_rng(0)
        wanted = random.integers(0, 2**63, (1_000_000, 2), dtype=np.uint64)
        chosen = random.permutation(1_000_000)[:900_000]
        left, right = match_ids(wanted, wanted[chosen])
        assert len(left) == 900_000
        assert (chosen[right] == left).all()


class TestColumns:
    def test_slices(self) -> None:
        ids = [bytes([i]) * 16 for i in range(10)]
        assert [row.tobytes() for row in ids_of(pa.array(ids, pa.binary(16)).slice(2, 6))] == ids[2:8]
        assert ids_of(pa.array([], pa.binary(16))).shape == (0, 2)
