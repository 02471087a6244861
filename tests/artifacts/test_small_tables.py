"""Small tables go through memory on one thread, big ones stream: what is stored and what comes back is the same."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from windsock.provider.artifacts.materializers import arrow
from windsock.provider.artifacts.materializers.arrow import PandasMaterializer
from windsock.provider.artifacts.saving import load, save
from windsock.provider.artifacts.store import ArtifactStore
from windsock.provider.errors import ArtifactCorrupted


def _frame(rows: int) -> pd.DataFrame:
    random = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "x": random.normal(size=rows),
            "count": random.integers(0, 9, rows),
            "half": random.normal(size=rows).astype("float32"),
            "yes": random.random(rows) > 0.5,
            "at": pd.date_range("2026-01-01", periods=rows, freq="min", tz="Europe/Berlin"),
            "kind": pd.Categorical(random.choice(["a", "b"], rows)),
            "note": random.choice(["long", "short", None], rows),
            "maybe": pd.array(random.choice([1, 2, None], rows), dtype="Int64"),
        }
    )


def _ref(saved: Any) -> dict[str, Any]:
    return {"uri": saved.uri, "digest": saved.digest, "type": saved.type}


class TestSmallAndBig:
    @pytest.mark.parametrize("rows", [0, 1, 500])
    def test_the_bytes_do_not_depend_on_the_way_they_were_written(
        self, rows: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written = []
        for limit in (1 << 30, 0):
            monkeypatch.setattr(arrow, "_SMALL", limit)
            file = io.BytesIO()
            PandasMaterializer().write(_frame(rows), file)
            written.append(file.getvalue())
        assert written[0] == written[1]

    @pytest.mark.parametrize("rows", [500, 40_000])
    def test_both_come_back_and_can_be_changed(self, rows: int, store: ArtifactStore) -> None:
        frame = _frame(rows)
        saved = save(frame, store)
        assert (saved.size < arrow._SMALL) is (rows == 500)
        found = load(_ref(saved), store)
        pd.testing.assert_frame_equal(found, frame)
        found.loc[0, ["x", "count", "yes"]] = [1.5, 3, True]
        found["at"] += pd.Timedelta(days=1)
        pd.testing.assert_frame_equal(load(_ref(saved), store), frame)

    @pytest.mark.parametrize("rows", [500, 40_000])
    def test_damage_is_found_before_anything_is_read(self, rows: int, store: ArtifactStore) -> None:
        saved = save(_frame(rows), store)
        path = store.local_path(saved.uri)
        assert path is not None
        _damage(path)
        with pytest.raises(ArtifactCorrupted):
            load(_ref(saved), store)


def _damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


class TestPreview:
    def test_it_shows_each_column_as_the_column_itself_would(self) -> None:
        frame = _frame(20)
        shown = PandasMaterializer().describe(frame)["preview"]
        assert shown == {name: arrow.preview(column.head(5).tolist()) for name, column in frame.items()}

    def test_a_wide_table_shows_its_first_columns(self) -> None:
        facts = PandasMaterializer().describe(pd.DataFrame(np.eye(60), columns=[f"c{i}" for i in range(60)]))
        assert list(facts["preview"]) == [f"c{i}" for i in range(50)]
        assert len(facts["schema"]) == 60
