"""Lists narrowed on the command line."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import typer
from metadata_lab import Lab
from windsock.provider.cli.narrowing import moment, size
from windsock.provider.metadata import Metadata, StepFinish


@pytest.fixture
def recorded(home: Path) -> None:
    """Four runs: accuracy 0.1 to 0.4, rate 1 to 4, and a model of each."""
    metadata = Metadata.open(f"sqlite:///{home / 'windsock.db'}")
    lab = Lab(metadata)
    for i in range(1, 5):
        start = lab.start("train", run=f"r{i}", parameters={"rate": i, "day": "monday"})
        metadata.runs.finish_step(StepFinish(start=start, state="success", metrics={"accuracy": i / 10}))
        metadata.runs.end("churn", f"r{i}", "success" if i > 1 else "failed")
        lab.model("churn", i, metrics={"auc": i / 10}, tags={"team": "growth" if i > 2 else "risk"})
    metadata.close()


@pytest.mark.usefixtures("recorded")
class TestLists:
    @pytest.mark.parametrize(
        ("words", "found"),
        [
            (("--where", "accuracy>0.2"), ["r4", "r3"]),
            (("--where", "accuracy>0.1", "--where", "accuracy<0.4", "--parameter", "rate!=3"), ["r2"]),
            (("-p", "day=monday", "--state", "failed", "--since", "1h"), ["r1"]),
            (("--until", "1h"), []),
            (("--dag", "other"), []),
        ],
    )
    def test_runs(self, windsock: Any, words: tuple[str, ...], found: list[str]) -> None:
        listed = windsock("runs", "list", "--output", "json", *words)
        assert [run["run_id"] for run in listed.json] == found, listed.err

    def test_model_versions(self, windsock: Any) -> None:
        listed = windsock("model", "versions", "churn", "--where", "auc>=0.2", "--tag", "team=risk", "--output", "json")
        assert [version["version"] for version in listed.json] == [2]

    def test_artifacts(self, windsock: Any) -> None:
        listed = windsock("artifact", "list", "--prefix", "churn.", "--larger-than", "3", "--output", "json").json
        assert len(listed) == 4
        assert windsock("artifact", "list", "--larger-than", "1k").out == "No artifact matches.\n"

    def test_audit(self, windsock: Any) -> None:
        listed = windsock("audit", "list", "--action", "register", "--since", "1h", "--output", "json").json
        assert len(listed) == 4

    def test_a_page_says_how_to_go_on_so_that_a_shell_understands(self, windsock: Any) -> None:
        import shlex

        listed = windsock("runs", "list", "--limit", "3", "--where", "accuracy>0")
        place = shlex.split(listed.err.split("--before ", 1)[1])[0].removesuffix(".")
        assert "r1" in windsock("runs", "list", "--limit", "3", "--before", place).out

    @pytest.mark.parametrize(
        ("words", "code", "says"),
        [
            (("--where", "accuracy"), 1, "is no comparison"),
            (("--where", "accuracy=high"), 1, "a metric is a number"),
            (("--since", "yesterday"), 2, "is no time"),
        ],
    )
    def test_nonsense(self, windsock: Any, words: tuple[str, ...], code: int, says: str) -> None:
        answer = windsock("runs", "list", *words)
        assert answer.code == code
        assert says in answer.err


class TestReading:
    def test_times(self) -> None:
        assert abs(moment("7d") - (datetime.now(timezone.utc) - timedelta(days=7))) < timedelta(minutes=1)
        assert moment("2026-01-31") == datetime(2026, 1, 31, tzinfo=timezone.utc)
        assert moment("2026-01-31T12:00Z") == moment("2026-01-31T13:00+01:00")

    @pytest.mark.parametrize("text", ["7", "d", "31.1.2026", ""])
    def test_no_times(self, text: str) -> None:
        with pytest.raises(typer.BadParameter):
            moment(text)

    @pytest.mark.parametrize(("text", "number"), [("10", 10), ("500k", 512000), ("1.5 MiB", 1572864), ("2G", 2**31)])
    def test_sizes(self, text: str, number: int) -> None:
        assert size(text) == number
