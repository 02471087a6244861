"""Data sets: append stores only what is new, every version stays readable, nothing that was appended is lost."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import dataset_racers
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import racers
from windsock.provider.datasets import Dataset, DatasetVersion, dataset
from windsock.provider.datasets.tables import to_table
from windsock.provider.errors import ArtifactCorrupted, ArtifactNotFound, DatasetMismatch, DataUnreadable
from windsock.provider.retention.policy import RetentionPolicy
from windsock.provider.retention.prune import prune

if TYPE_CHECKING:
    from pathlib import Path

    from windsock.provider.stack import Stack


@pytest.fixture
def sales(stack: Stack) -> Dataset:
    return dataset("sales", partition_by="day", stack=stack)


def rows(day: str, *amounts: float, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"day": [day] * len(amounts), "amount": list(amounts), **columns})


def blobs(stack: Stack) -> set[str]:
    return set(stack.artifact_store.keys("objects/"))


class TestWriting:
    def test_an_append_stores_only_the_new_rows(self, sales: Dataset, stack: Stack) -> None:
        first = sales.append(pd.concat([rows("mon", 1, 2), rows("tue", 3)]))
        before = blobs(stack)
        second = sales.append(rows("tue", 4, 5))
        new = blobs(stack) - before
        assert len(new) == 2  # one part, one manifest
        assert sum(key.endswith(".dataset.json") for key in new) == 1
        assert second.manifest.parts[:2] == first.manifest.parts
        assert (first.version, first.rows, second.version, second.rows) == (1, 3, 2, 5)
        assert second.manifest.parent == first.digest
        assert second.partitions == [{"day": "mon"}, {"day": "tue"}]

    def test_versions_never_change(self, sales: Dataset) -> None:
        sales.append(rows("mon", 1, 2))
        sales.append(rows("tue", 3))
        sales.overwrite(rows("wed", 9))
        assert [sales.read(version=number)["amount"].tolist() for number in (1, 2, 3)] == [[1, 2], [1, 2, 3], [9]]
        assert [page.version for page in sales.versions()] == [3, 2, 1]

    def test_one_partition_is_replaced(self, sales: Dataset) -> None:
        sales.append(pd.concat([rows("mon", 1, 2), rows("tue", 3)]))
        replaced = sales.replace(rows("mon", 7), partition={"day": "mon"})
        assert sorted(replaced.to_pandas()["amount"]) == [3, 7]
        with pytest.raises(DatasetMismatch, match="'tue'"):
            sales.replace(rows("tue", 8), partition={"day": "mon"})
        assert sales.latest() == replaced

    def test_new_columns_are_null_before(self, sales: Dataset) -> None:
        sales.append(rows("mon", 1))
        version = sales.append(rows("tue", 2, shop=["x"]))
        assert version.columns == ["day", "amount", "shop"]
        assert version.to_arrow(["shop"])["shop"].to_pylist() == [None, "x"]
        again = sales.append(rows("wed", 3))
        assert again.to_arrow(["shop", "amount"]).to_pylist()[-1] == {"shop": None, "amount": 3.0}

    def test_other_widths_fit_if_nothing_is_lost(self, sales: Dataset) -> None:
        sales.append({"day": ["mon"], "amount": [1.5], "count": pa.array([1], pa.int64())})
        sales.append({"day": ["tue"], "amount": pa.array([2], pa.int32()), "count": pa.array([2], pa.int8())})
        latest = sales.append({"day": ["wed"], "amount": pa.array([2.5], pa.float32()), "count": [3.0]})
        assert latest.to_arrow().schema.field("count").type == pa.int64()
        assert latest.to_arrow()["amount"].to_pylist() == [1.5, 2.0, 2.5]
        with pytest.raises(DatasetMismatch, match='"count" is int64, and the new rows have double'):
            sales.append({"day": ["wed"], "amount": [1.0], "count": [0.5]})
        with pytest.raises(DatasetMismatch, match='"amount" is double, and the new rows have large_string'):
            sales.append({"day": ["wed"], "amount": ["1.0"], "count": [1]})
        assert sales.latest() == latest

    def test_what_any_library_hands_in(self, sales: Dataset, tmp_path: Path) -> None:
        plain = [{"day": "mon", "amount": 1.0}]
        table = pa.Table.from_pylist(plain)
        file = tmp_path / "rows.parquet"
        pd.DataFrame(plain).to_parquet(file)
        given = [
            plain, table, pl.DataFrame(plain), pd.DataFrame(plain), table.to_batches()[0], table.to_reader(),
            {"day": ["mon"], "amount": [1.0]}, file, pd.DataFrame(plain).astype({"day": "category"}),
        ]  # fmt: skip
        for data in given:
            version = sales.append(data)
        assert version.to_pandas()["amount"].tolist() == [1.0] * len(given)
        assert version.schema.field("day").type == pa.large_string()
        assert len({part.digest for part in version.manifest.parts}) == 1  # the same bytes, stored once
        for wrong in (3, [1, 2], pd.DataFrame(), tmp_path / "missing.parquet"):
            with pytest.raises(DataUnreadable):
                sales.append(wrong)

    def test_partitions_of_several_columns_and_types(self, stack: Stack) -> None:
        data = pd.DataFrame(
            {
                "day": [date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 1), None],
                "shop": [1, 2, 2, 1],
                "amount": [1.0, 2.0, 3.0, 4.0],
            }
        )
        version = dataset("by-shop", partition_by=["day", "shop"], stack=stack).append(data)
        assert len(version.manifest.parts) == 4
        assert version.to_pandas(partition={"day": date(2026, 1, 1)})["amount"].tolist() == [1.0, 3.0]
        assert version.to_pandas(partition={"day": "2026-01-01", "shop": [2, 3]})["amount"].tolist() == [3.0]
        assert version.to_pandas(partition={"day": None})["amount"].tolist() == [4.0]

    def test_partitioned_otherwise_is_refused(self, sales: Dataset, stack: Stack) -> None:
        sales.append(rows("mon", 1))
        with pytest.raises(DatasetMismatch, match="partitioned by"):
            dataset("sales", partition_by="shop", stack=stack).append(rows("mon", 1, shop=["x"]))
        assert dataset("sales", stack=stack).append(rows("tue", 2)).partitions == [{"day": "mon"}, {"day": "tue"}]
        with pytest.raises(DatasetMismatch, match='"day", which the rows do not have'):
            sales.append({"amount": [1.0]})

    def test_an_artifact_of_another_type_is_no_data_set(self, stack: Stack) -> None:
        from windsock.provider.metadata import NewArtifact

        digest = "blake3:" + "0" * 64
        stack.metadata.artifacts.record(
            NewArtifact(artifact="model", uri="file:///x", digest=digest, size=1, type="int")
        )
        with pytest.raises(DatasetMismatch, match="no data set"):
            dataset("model", stack=stack).latest()


class TestReading:
    def test_columns_partitions_and_conditions(self, sales: Dataset) -> None:
        sales.append(pd.concat([rows("mon", 1, 2, shop=["x", "y"]), rows("tue", 3, shop=["x"])]))
        latest = sales.latest()
        assert latest.to_polars(["amount"]).to_dict(as_series=False) == {"amount": [1.0, 2.0, 3.0]}
        assert latest.to_pandas(partition={"day": "tue"})["amount"].tolist() == [3]
        found = latest.to_arrow(["amount"], where=pc.field("shop") == "x")
        assert found.to_pydict() == {"amount": [1.0, 3.0]}
        assert len(latest) == 3
        with pytest.raises(DatasetMismatch, match='no column "amont"') as caught:
            latest.to_arrow(["amont"])
        assert 'Did you mean "amount"?' in str(caught.value)
        with pytest.raises(DatasetMismatch, match="not partitioned"):
            latest.to_arrow(partition={"shop": "x"})

    def test_other_partitions_are_not_touched(self, sales: Dataset, stack: Stack) -> None:
        version = sales.append(pd.concat([rows("mon", 1), rows("tue", 2)]))
        (monday,) = version.parts({"day": "mon"})
        stack.artifact_store.remove(monday.key)
        assert version.to_pandas(partition={"day": "tue"})["amount"].tolist() == [2]
        with pytest.raises(ArtifactNotFound):
            version.to_pandas()

    def test_as_of_a_time(self, sales: Dataset) -> None:
        sales.append(rows("mon", 1))
        between = datetime.now(timezone.utc)
        sales.append(rows("tue", 2))
        assert sales.version(as_of=between).version == 1
        assert len(sales.read(as_of=between)) == 1
        with pytest.raises(ArtifactNotFound, match="had no version"):
            sales.version(as_of=between - timedelta(hours=1))

    def test_lazily(self, sales: Dataset) -> None:
        sales.append(rows("mon", *np.arange(1000.0)))
        sales.append(rows("tue", 5, shop=["x"]))
        lazy = sales.latest().to_arrow_dataset()
        assert lazy.count_rows(filter=pc.field("amount") < 10) == 11
        assert lazy.schema.names == ["day", "amount", "shop"]
        assert pl.scan_pyarrow_dataset(lazy).filter(pl.col("shop") == "x").collect()["amount"].to_list() == [5.0]

    def test_damaged_content_is_found(self, sales: Dataset, stack: Stack) -> None:
        version = sales.append(rows("mon", 1, 2))
        (part,) = version.manifest.parts
        path = stack.artifact_store.local_path(part.key)
        assert path is not None
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        with pytest.raises(ArtifactCorrupted):
            version.to_pandas()

    def test_nothing_yet(self, sales: Dataset) -> None:
        with pytest.raises(ArtifactNotFound):
            sales.latest()
        assert sales.append(rows("mon")).to_pandas().empty


class TestDiff:
    def test_rows_columns_and_partitions(self, sales: Dataset) -> None:
        sales.append(pd.concat([rows("mon", 1, 1, 2), rows("tue", 3), rows("wed", float("nan"))]))
        sales.replace(rows("mon", 2, 1, 5), partition={"day": "mon"})
        found = sales.diff(1, distribution=False)
        assert (found.rows_added, found.rows_removed, found.same) == (1, 1, False)  # 5 came, one of two 1 went
        assert found.partitions == [{"day": "mon"}]
        sales.append(rows("thu", 1, shop=["x"]))
        later = sales.diff(2, distribution=False)
        assert later.columns_added == {"shop": "large_string"}
        assert (later.rows_added, later.rows_removed) == (1, 0)
        back = sales.diff(3, 2, distribution=False)
        assert (back.columns_removed, back.rows_removed) == ({"shop": "large_string"}, 1)

    def test_rewritten_parts_are_no_difference(self, sales: Dataset) -> None:
        sales.append(rows("mon", 1))
        sales.append(rows("mon", 2))
        sales.overwrite(rows("mon", 2, 1))
        found = sales.diff(2, 3)
        assert found.same
        assert (found.rows_added, found.rows_removed) == (0, 0)

    def test_distributions_are_compared_by_the_drift_engine(self, sales: Dataset) -> None:
        random = np.random.default_rng(1)
        sales.append(pd.DataFrame({"day": "mon", "amount": random.normal(0, 1, 2000), "other": random.random(2000)}))
        sales.overwrite(pd.DataFrame({"day": "mon", "amount": random.normal(3, 1, 2000), "other": random.random(2000)}))
        drift = sales.diff(1, 2).drift
        assert drift is not None
        assert (drift.features["amount"].status, drift.features["other"].status) == ("drift", "ok")
        assert sales.diff(1, 2).to_dict()["drift"]["status"] == "drift"


class TestConcurrentAppends:
    def test_none_is_lost_and_versions_have_no_gap(self, url: str, tmp_path: Path) -> None:
        folder = str(tmp_path / "artifacts")
        got = racers.at_once(dataset_racers.append, [(url, folder, who, 12) for who in ("a", "b")])
        assert sorted(number for numbers in got for number in numbers) == list(range(1, 25))
        sales = dataset_racers.open_dataset(url, folder)
        table = sales.latest().to_arrow()
        assert table.num_rows == 2 * 12 * 3
        assert table.group_by(["who", "turn", "row"]).aggregate([]).num_rows == 2 * 12 * 3
        assert [v.rows for v in (sales.version(n) for n in (1, 18, 24))] == [3, 54, 72]
        chain = [sales.version(number) for number in range(1, 25)]
        assert [v.manifest.parent for v in chain[1:]] == [v.digest for v in chain[:-1]]


class TestRetention:
    def test_all_versions_and_their_parts_are_kept(self, sales: Dataset, stack: Stack) -> None:
        from retention_lab import NO_TIME

        sales.append(rows("mon", 1))
        sales.overwrite(rows("tue", 2))
        policy = RetentionPolicy.of({"default": {"runs": 0}})
        for _ in range(2):
            done = prune(stack.metadata, stack.artifact_store, policy, grace=NO_TIME)
        assert (done.marked, done.removed, done.orphans) == (0, 0, 0)
        assert sales.read(version=1)["amount"].tolist() == [1]

    def test_parts_of_an_append_that_died_are_orphans_until_somebody_appends_them(
        self, sales: Dataset, stack: Stack
    ) -> None:
        from retention_lab import NO_TIME

        sales.append(rows("mon", 1))
        died = sales._store(to_table(rows("tue", 2)), ["day"], None)[0][0]
        policy = RetentionPolicy.of(None)
        assert prune(stack.metadata, stack.artifact_store, policy, grace=NO_TIME).marked == 1
        version = sales.append(rows("tue", 2))
        assert version.manifest.parts[-1].rows == 1
        assert prune(stack.metadata, stack.artifact_store, policy, grace=NO_TIME).removed == 0
        assert version.manifest.parts[-1] == died
        assert version.to_pandas()["amount"].tolist() == [1, 2]


class TestSteps:
    def test_versions_travel_between_steps_with_lineage(self, stack: Stack) -> None:
        import shop_data

        first = shop_data.weekly.run(seed=1, stack=stack)
        ref = first.outputs["collect"]["output"]
        assert (ref["artifact"], ref["version"], ref["type"]) == ("sales", 1, "windsock.DatasetVersion")
        assert first.load("total") == 3.0
        assert isinstance(first.load("collect"), DatasetVersion)
        second = shop_data.weekly.run(seed=2, stack=stack)
        assert second.load("total") == 6.0
        version = dataset("sales", stack=stack).version(2)
        assert version.rows == 4
        graph = stack.metadata.lineage.graph("artifact:sales@2")
        kinds = {node.id.partition(":")[0] for node in graph.nodes}
        assert {"artifact", "step_run", "run"} <= kinds
        assert any(edge.target == "artifact:sales@2" for edge in graph.edges)
        assert any(edge.source == "artifact:sales@2" for edge in graph.edges)

    def test_a_retry_appends_nothing_twice(self, stack: Stack) -> None:
        from windsock.provider.runtime.execution import Execution
        from windsock.provider.runtime.invocation import OutputTarget, RunIdentity, StepInvocation
        from windsock.provider.runtime.recorder import MetadataRecorder

        def attempt(number: int) -> Any:
            invocation = StepInvocation(
                step="append_dataset",
                function="windsock.provider.steps.datasets:append_dataset",
                identity=RunIdentity("shop", "r1", "append_dataset", try_number=number),
                arguments={"rows": {"value": [{"amount": 1.0}]}, "name": {"value": "retried"}},
                outputs=(OutputTarget("output", None, "shop.append_dataset"),),
                cache=False,
            )
            recorder = MetadataRecorder(lambda: stack.metadata)
            return Execution(invocation, stack.artifact_store, recorder, stack=stack).run().outputs["output"]

        assert attempt(1)["version"] == attempt(2)["version"] == 1
        assert dataset("retried", stack=stack).latest().rows == 1


class TestCrash:
    @pytest.mark.parametrize("point", ["datasets.manifest_stored", "metadata.commit.after"])
    def test_a_killed_append_is_whole_or_not_at_all(self, tmp_path: Path, point: str) -> None:
        import os
        import subprocess
        import sys

        url = f"sqlite:///{tmp_path / 'metadata.db'}"
        folder = str(tmp_path / "artifacts")
        dataset_racers.open_dataset(url, folder).append({"who": ["a"], "turn": [0], "row": [0]})
        script = "import sys, dataset_racers; dataset_racers.append(*sys.argv[1:3], 'b', 1)"
        environ = {**os.environ, "WINDSOCK_FAULT_POINT": point, "PYTHONPATH": os.path.dirname(racers.__file__)}
        done = subprocess.run([sys.executable, "-c", script, url, folder], env=environ, check=False)
        assert done.returncode == -9
        latest = dataset_racers.open_dataset(url, folder).latest()
        assert (latest.version, latest.to_arrow().num_rows) == ((2, 4) if point.endswith("after") else (1, 1))
        assert dataset_racers.append(url, folder, "b", 1) == [latest.version + 1]
