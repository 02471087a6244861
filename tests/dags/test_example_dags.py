"""The example DAGs: they load in Airflow, parse light, and run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DAGS = Path(__file__).parents[2] / "dags"
EXPECTED = {
    "digits_batch_prediction",
    "digits_training",
    "tumours_drift_check",
    "tumours_drift_watch",
    "tumours_training",
    "windsock_maintenance",
    "wine_shop",
}


@pytest.fixture(scope="module")
def bag(airflow_home: Path) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    sys.path.insert(0, str(DAGS))
    try:
        yield DagBag(str(DAGS))
    finally:
        sys.path.remove(str(DAGS))


class TestLoading:
    def test_all_of_them_and_no_error(self, bag: Any) -> None:
        assert bag.import_errors == {}
        assert set(bag.dag_ids) == EXPECTED

    def test_every_dag_says_what_it_is_for(self, bag: Any) -> None:
        assert all(bag.dags[dag_id].doc_md for dag_id in EXPECTED)

    def test_the_retraining_is_scheduled_on_drift_or_time(self, bag: Any) -> None:
        from windsock import drift_asset

        timetable = bag.dags["tumours_training"].timetable
        assert drift_asset("tumours").uri in {asset.uri for _, asset in timetable.asset_condition.iter_assets()}

    @pytest.mark.parametrize("file", sorted(path.name for path in DAGS.glob("*.py")))
    def test_parsing_imports_nothing_heavy(self, file: str) -> None:
        script = f"""
import json, runpy, sys
sys.path.insert(0, {str(DAGS)!r})
from airflow.sdk import Asset
from airflow.timetables.assets import AssetOrTimeSchedule
from airflow.timetables.trigger import CronTriggerTimetable
# For any asset with a URI, Airflow itself imports what the installed providers say of assets (amazon: boto3).
daily = CronTriggerTimetable("@daily", timezone="UTC")
AssetOrTimeSchedule(timetable=daily, assets=[Asset(name="x", uri="s3://x/y")])
before = set(sys.modules)
runpy.run_path({str(DAGS / file)!r})
heavy = ["pandas", "sklearn", "pyarrow", "boto3", "kubernetes", "great_expectations", "google.cloud", "azure", "polars",
         "scipy", "fastapi", "windsock.provider.metadata.schema"]
print(json.dumps([name for name in heavy if name in sys.modules and name not in before]))
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert json.loads(done.stdout.splitlines()[-1]) == []


class TestRunning:
    def test_digits_are_trained_and_then_read_in_a_batch(
        self, run_dag: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import pandas as pd
        from airflow.dag_processing.dagbag import DagBag

        monkeypatch.syspath_prepend(str(DAGS))
        monkeypatch.setenv("DIGITS_SHEETS", str(tmp_path / "sheets"))
        from windsock_examples.digits import write_sheets

        write_sheets(str(tmp_path / "sheets"), sheets=2, per_sheet=50)
        dags = DagBag(str(DAGS)).dags
        assert run_dag(dags["digits_training"]).state == "success"
        result = run_dag(dags["digits_batch_prediction"])
        assert result.state == "success"
        read = list((tmp_path / "sheets-read").rglob("*.parquet"))
        assert sum(len(pd.read_parquet(path)) for path in read) == 100

    def test_maintenance_prunes(self, run_dag: Any, bag: Any) -> None:
        from windsock.hooks.stacks import load_stack

        stack = load_stack()
        left = stack.artifact_store.put_bytes("objects/ab/" + "ab" * 32 + ".bin", b"nobody knows me", overwrite=True)
        assert run_dag(bag.dags["windsock_maintenance"]).state == "success"
        stone = stack.metadata.tombstones.find(left)
        assert (stone.state, stone.reason) == ("marked", "orphan")
        event = stack.metadata.audit.list(subject_kind="artifact_store")[0]
        assert event.action == "prune"
        assert event.after["marked_bytes"] >= 15

    def test_the_shop_waits_for_a_person(self, bag: Any) -> None:
        """What a person answers is tested against a running Airflow, in tests/plugins."""
        shop = bag.dags["wine_shop"]
        assert shop.get_task("approve").downstream_task_ids == {"promote"}
        assert shop.get_task("register").upstream_task_ids >= {"train_grower_model"}
