"""SIGKILL at every write point of a step, then a retry: nothing half, nothing lost, the same versions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from windsock.provider.metadata import Metadata

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[3])
from metadata_lab import Lab, new_artifact
from windsock.provider.metadata import Metadata, EdgeIn, NewDriftReport, NewModelVersion, StepFinish

metadata = Metadata.open(sys.argv[1])
lab = Lab(metadata)
_, data = lab.step("load", makes={"output": "rows"})
start = lab.start("fit", try_number=int(sys.argv[2]))
outputs = [new_artifact("churn.fit", "model"), new_artifact("churn.plot", "plot", output="plot")]
inputs = [EdgeIn(name="rows", ref=data["output"].ref())]
made = metadata.runs.finish_step(
    StepFinish(start=start, state="success", inputs=inputs, outputs=outputs, metrics={"a": 1.0, "b": 2.0})
)
register = lab.start("register", try_number=int(sys.argv[2]))
model = metadata.models.register(
    NewModelVersion(model="churn", artifact=made["output"].ref(), step_run=register.key)
)
metadata.models.set_alias("churn", "production", model.version, actor="me", run=register.run_key)
report = metadata.drift.record(NewDriftReport(model="churn", version=1, rows=1, drifted=True, drift_share=1.0))
assert metadata.drift.claim(report.id, "retrain", claimant="r1/retrain")
print("done")
"""

POINTS = [
    *(f"metadata.commit.before@{i}" for i in range(1, 10)),
    *(f"metadata.commit.after@{i}" for i in range(1, 10)),
    *(f"metadata.start_step@{i}" for i in (1, 2, 3)),
    *(f"metadata.finish_step.{part}@{i}" for part in ("state", "artifacts", "metrics") for i in (1, 2)),
    "metadata.models.register",
    "metadata.models.set_alias",
    "metadata.drift.record",
    "metadata.drift.claim",
]


def run(url: str, attempt: int, point: str | None) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, **({"WINDSOCK_FAULT_POINT": point} if point else {})}
    command = [sys.executable, "-c", SCRIPT, url, str(attempt), str(Path(__file__).parent.parent)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


# The servers differ in what a lost connection leaves, not in what each point does: MariaDB is shown some.
CASES = [(name, point) for name in ("sqlite", "postgresql") for point in POINTS]
CASES += [("mariadb", point) for point in POINTS[::7]]


@pytest.mark.slow
@pytest.mark.parametrize(("url", "point"), CASES, indirect=["url"])
def test_a_kill_and_a_retry(url: str, metadata: Metadata, point: str) -> None:
    killed = run(url, 1, point)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    # What is visible now is whole: a step run that ended has all its outputs, one that did not has none.
    for step in metadata.runs.steps(metadata.runs.list()[0].id) if metadata.runs.list() else []:
        made = metadata.runs.outputs(step.id)
        expected = {"load": 1, "fit": 2}.get(step.step, 0) if step.state == "success" else 0
        assert len(made) == expected
        assert len(metadata.runs.metrics(step.id)) == (2 if step.step == "fit" and made else 0)
    retried = run(url, 2, None)
    assert retried.stdout == "done\n", retried.stderr
    versions = sorted((v.artifact, v.version) for v in metadata.artifacts.list())
    assert versions == [("churn.fit", 1), ("churn.load", 1), ("churn.plot", 1)]
    assert [v.version for v in metadata.models.versions("churn")] == [1]
    assert len(metadata.models.history("churn")) == 1
    assert len(metadata.drift.list()) == 1
    fits = [s.state for s in metadata.runs.steps(metadata.runs.list()[0].id) if s.step == "fit"]
    assert fits[-1] == "success"
    assert "running" not in fits
