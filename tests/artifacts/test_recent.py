"""A table that was read a moment ago: the same values, never the same object, and never what is no longer there."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd
import pytest
from windsock.provider.artifacts import recent
from windsock.provider.artifacts.materializers.arrow import PandasMaterializer
from windsock.provider.artifacts.saving import load, save
from windsock.provider.artifacts.store import ArtifactStore
from windsock.provider.errors import ArtifactCorrupted, ArtifactNotFound


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "_kept", {})


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often a file was decoded."""
    times: list[int] = []
    read = PandasMaterializer.read

    def counting(self: Any, *arguments: Any) -> Any:
        times.append(1)
        return read(self, *arguments)

    monkeypatch.setattr(PandasMaterializer, "read", counting)
    return times


def numbers() -> pd.DataFrame:
    frame = pd.DataFrame({"a": np.arange(5.0), "b": np.arange(5), "c": [True, False] * 2 + [True]}, index=list("vwxyz"))
    frame.attrs["unit"] = {"a": "m"}
    return frame


def stored(value: Any, store: ArtifactStore) -> dict[str, Any]:
    saved = save(value, store)
    return {"uri": saved.uri, "digest": saved.digest, "type": saved.type, "materializer": saved.materializer}


class TestRecent:
    def test_read_once_and_never_shared(self, store: ArtifactStore, decoded: list[int]) -> None:
        ref = stored(numbers(), store)
        first, second = load(ref, store), load(ref, store)
        assert len(decoded) == 1
        pd.testing.assert_frame_equal(first, second)
        first.iloc[0, 0] = -1.0
        first["new"] = 1
        second.attrs["unit"]["a"] = "mm"
        pd.testing.assert_frame_equal(load(ref, store), numbers())
        assert load(ref, store).attrs == {"unit": {"a": "m"}}
        assert len(decoded) == 1

    def test_some_columns_are_another_value(self, store: ArtifactStore) -> None:
        ref = stored(numbers(), store)
        assert list(load(ref, store).columns) == ["a", "b", "c"]
        assert list(load(ref, store, columns=["b"]).columns) == ["b"]
        assert list(load(ref, store, columns=["c", "a"]).columns) == ["c", "a"]

    def test_damage_is_noticed_as_ever(self, store: ArtifactStore) -> None:
        ref = stored(numbers(), store)
        load(ref, store)
        path = store.local_path(ref["uri"])
        assert path is not None
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.chmod(0o644)
        path.write_bytes(data)
        with pytest.raises(ArtifactCorrupted):
            load(ref, store)

    def test_so_is_a_file_that_is_gone(self, store: ArtifactStore) -> None:
        ref = stored(numbers(), store)
        load(ref, store)
        path = store.local_path(ref["uri"])
        assert path is not None
        path.unlink()
        with pytest.raises(ArtifactNotFound):
            load(ref, store)

    @pytest.mark.parametrize(
        "value",
        [
            pd.DataFrame({"a": ["x", "y"]}),
            pd.DataFrame({"a": [[1], [2]]}),
            pd.DataFrame({"a": pd.Categorical(["x", "y"])}),
            pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}),
            pd.Series([1.0, 2.0], name="a"),
            pd.DataFrame({"a": np.zeros(100_000)}),
        ],
        ids=["text", "lists", "categories", "nullable", "series", "big"],
    )
    def test_nothing_else_is_kept(self, value: Any, store: ArtifactStore) -> None:
        ref = stored(value, store)
        load(ref, store)
        assert recent._kept == {}

    def test_only_the_last_few_are_kept(self, store: ArtifactStore) -> None:
        for i in range(20):
            load(stored(numbers() + i, store), store)
        assert len(recent._kept) == 8

    def test_a_child_process_may_read_too(self, store: ArtifactStore) -> None:
        ref = stored(numbers(), store)
        load(ref, store)
        child = os.fork()
        if not child:
            os._exit(0 if load(ref, store).equals(numbers()) else 1)
        assert os.waitpid(child, 0)[1] == 0
