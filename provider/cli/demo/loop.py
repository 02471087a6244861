"""The demo: one loop, watched on a real Airflow, from the first training to the retraining that drift asked for.

The script plays the outside world only: it starts Airflow, triggers the first training, sends requests to the deployed
model, and one day recalibrates the scanner. Everything else (noticing, retraining, promoting, rolling over) is done by
the DAGs in ``dags/``, and the script just looks.
"""

from __future__ import annotations

import importlib
import os
import statistics
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...errors import ConfigurationError
from .airflow import USER, DemoFailed, PrivateAirflow, wait_for
from .traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console

    from ...metadata import Metadata
    from ...metadata.drift import DriftReport
    from ...metadata.models import ModelVersion

MODEL = "tumours"
TRAINING, CHECK, WATCH = "tumours_training", "tumours_drift_check", "tumours_drift_watch"
SHIFT = 0.25
"""The scanner's new scale: every length comes out 25 % longer."""


@dataclass
class Story:
    """What happened, for the summary."""

    timings: dict[str, float] = field(default_factory=dict)
    versions: list[ModelVersion] = field(default_factory=list)
    quiet: DriftReport | None = None
    drift: DriftReport | None = None
    retraining: dict[str, Any] = field(default_factory=dict)
    promotion: Any = None
    request_id: str = ""
    lineage: Any = None


class Demo:
    """One run of the loop over one folder."""

    def __init__(self, folder: Path, dags: Path, console: Console) -> None:
        self.console = console
        self.folder = folder.absolute()
        self.data = self.folder / "data"
        self.story = Story()
        self.traffic: Traffic | None = None
        windsock = {
            "WINDSOCK_HOME": str(self.folder / "windsock"),
            "WINDSOCK_STACK": "demo",
            "WINDSOCK_STACKS_FOLDER": str(self.folder / "stacks"),
            "TUMOURS_DATA": str(self.data),
            "DIGITS_SHEETS": str(self.data / "sheets"),
        }
        os.environ.update(windsock)
        os.environ.pop("WINDSOCK_SQL_ALCHEMY_CONN", None)
        self.airflow = PrivateAirflow(self.folder, dags, windsock)
        sys.path.insert(0, str(dags))  # as Airflow does for the DAG files

    def run(self) -> Story:
        """The whole loop. Raises ``DemoFailed`` where it does not close."""
        self._start()
        self._first_training()
        self._quiet_day()
        self._recalibrate()
        self._notice()
        self._retrain()
        self._trace()
        return self.story

    def stop(self) -> None:
        if self.traffic:
            self.traffic.stop()
        self.airflow.stop()

    def _start(self) -> None:
        with self._chapter("start Airflow", "scheduler, API server, DAG processor, triggerer"):
            self.airflow.prepare()
            self._write_stack()
            (self.data / "landing").mkdir(parents=True)
            self.airflow.migrate()
            self.airflow.start()
            self.airflow.wait_until_healthy()
            self.airflow.wait_for_dags((TRAINING, CHECK, WATCH))
        self._say(f"Airflow: {self.airflow.url}   user [b]{USER}[/b]   password [b]{self.airflow.password}[/b]")

    def _first_training(self) -> None:
        with self._chapter("first training", "train → evaluate → gate → register → promote → deploy"):
            self.airflow.unpause(TRAINING)
            run = self.airflow.trigger(TRAINING)
            self.airflow.wait_for_run(TRAINING, run, 180, self._show_tasks(TRAINING, run))
            self._remember_version()
        version = self.story.versions[-1]
        deployment = self.metadata.deployments.get(MODEL)
        self._say(
            f"{MODEL} version {version.version} is in production: {_metrics(version)}; served at {deployment.url}"
        )
        self.traffic = Traffic(str(deployment.url), self._patients(shift=None)).start()

    def _quiet_day(self) -> None:
        with self._chapter("a quiet day", "predictions are logged; the drift check finds nothing"):
            self.airflow.unpause(WATCH)
            self.airflow.unpause(CHECK)
            self.story.quiet = self._next_report(drifted=False, timeout=150)
        self._say(f"No drift in {self.story.quiet.rows:,} logged predictions.")

    def _recalibrate(self) -> None:
        assert self.traffic is not None
        patients = _examples().bootstrap_patients(1500, seed=7, shift=SHIFT)
        temporary = self.data / "landing" / ".new_scanner.tmp"
        patients.to_parquet(temporary)
        temporary.rename(self.data / "landing" / "new_scanner.parquet")
        self.traffic.use(self._patients(shift=SHIFT))
        self._say(f"The scanner is recalibrated: lengths come out {SHIFT:.0%} longer. Nobody tells the model.")

    def _notice(self) -> None:
        with self._chapter("drift", "the check reports it, the deferred sensor notices, the asset event goes out"):
            self.story.drift = self._next_report(drifted=True, timeout=180)
        drift = self.story.drift
        drifted = sorted(name for name, feature in drift.features.items() if feature["status"] == "drift")
        self._say(f"Drift in {len(drifted)} of {len(drift.features)} features: {', '.join(drifted[:4])}…")

    def _retrain(self) -> None:
        def started() -> dict[str, Any] | None:
            self.airflow.check_alive()
            found = [run for run in self.airflow.runs(TRAINING) if run["run_type"] == "asset_triggered"]
            return found[0] if found else None

        with self._chapter("retraining", "started by the event; better on the same patients? promote, roll over"):
            self.story.retraining = run = wait_for(started, 120, "the drift event to start a retraining")
            self.airflow.wait_for_run(TRAINING, run["dag_run_id"], 180, self._show_tasks(TRAINING, run["dag_run_id"]))
            self._remember_version()
            self._expect(
                len(self.story.versions) == 2 and self.story.versions[1].version == 2, "version 2 in production"
            )
            self._await_answers_from("2")
        self.story.promotion = self.metadata.models.history(MODEL, "production")[0]
        outcomes = "; ".join(str(gate["detail"]) for gate in self.story.promotion.gates)
        self._say(f"{MODEL} version 2 is in production and answers: {outcomes}")
        tally = self.traffic.tally if self.traffic else None
        self._expect(
            tally is not None and tally.failed == 0, f"no failed request, but saw {tally and tally.errors[:3]}"
        )

    def _trace(self) -> None:
        """From one answer of the new version back to the data it was trained on."""
        from ...predictions import reader
        from ...stack import Stack

        assert self.traffic is not None
        self.story.request_id = str(self.traffic.tally.last["2"]["request_id"])
        root = Stack.load().artifact_store.root
        with self._chapter("trace", "one answer → prediction → model → run → step → data"):
            row = wait_for(lambda: reader.find(root, self.story.request_id), 60, "the prediction to be in the log")
            node = f"model:{row['model']}@{row['version']}"
            self.story.lineage = self.metadata.lineage.graph(node, direction="up")
            kinds = {found.kind for found in self.story.lineage.nodes}
            self._expect(
                {"model", "artifact", "step_run", "run"} <= kinds, f"a lineage back to the data, found {kinds}"
            )

    @property
    def metadata(self) -> Metadata:
        from ...stack import Stack

        return Stack.load().metadata

    def _write_stack(self) -> None:
        stacks = self.folder / "stacks"
        stacks.mkdir()
        # Small files at once, so that the demo need not wait for an hour of predictions.
        (stacks / "demo.yaml").write_text(
            "name: demo\ndeployer: {flavor: local, rotate_seconds: 5}\n", encoding="utf-8"
        )

    def _patients(self, shift: float | None) -> Any:
        examples = _examples()
        pool = examples.measurements(examples.bootstrap_patients(2000, seed=1, shift=shift)).to_dict("records")
        position = 0

        def rows(count: int) -> list[dict[str, Any]]:
            nonlocal position
            position += count
            return [pool[index % len(pool)] for index in range(position - count, position)]

        return rows

    def _next_report(self, *, drifted: bool, timeout: float) -> DriftReport:
        known = {report.id for report in self.metadata.drift.list(deployment=MODEL, limit=100)}

        def found() -> DriftReport | None:
            self.airflow.check_alive()
            reports = self.metadata.drift.list(deployment=MODEL, limit=100)
            return next((one for one in reports if one.id not in known and one.drifted == drifted), None)

        report: DriftReport = wait_for(found, timeout, "a drift report")
        return report

    def _remember_version(self) -> None:
        self.story.versions.append(self.metadata.models.get(MODEL, alias="production"))

    def _await_answers_from(self, version: str) -> None:
        assert self.traffic is not None
        tally = self.traffic.tally
        wait_for(lambda: tally.versions.get(version, 0) >= 20, 30, f"version {version} to answer", pause=0.2)

    def _show_tasks(self, dag_id: str, run_id: str) -> Any:
        seen: set[str] = set()

        def show() -> None:
            for task in self.airflow.tasks(dag_id, run_id):
                if task["state"] in ("success", "failed", "skipped") and task["task_id"] not in seen:
                    seen.add(task["task_id"])
                    mark = {"success": "[green]✓[/]", "failed": "[red]✗[/]", "skipped": "[yellow]–[/]"}[task["state"]]
                    self.console.print(f"    {mark} {task['task_id']} [dim]{task.get('duration') or 0:.1f} s[/]")

        return show

    @contextmanager
    def _chapter(self, name: str, what: str) -> Iterator[None]:
        started = time.monotonic()
        self.console.print(f"[bold cyan]▶ {name}[/]  [dim]{what}[/]")
        yield
        self.story.timings[name] = time.monotonic() - started
        self.console.print(f"  [dim]{self.story.timings[name]:.1f} s[/]")

    def _say(self, text: str) -> None:
        self.console.print(f"  {text}")

    @staticmethod
    def _expect(condition: bool, what: str) -> None:
        if not condition:
            raise DemoFailed(f"The loop did not close: expected {what}.")

    def summary(self) -> None:
        """Print what happened, and where to look."""
        from rich.table import Table

        story, tally = self.story, self.traffic.tally if self.traffic else None
        assert story.drift is not None
        assert tally is not None
        table = Table(title="The loop closed", show_header=False, title_justify="left", title_style="bold green")
        for version in story.versions:
            table.add_row(
                f"version {version.version}",
                f"{_metrics(version)}, answered {tally.versions[str(version.version)]:,} requests",
            )
        reasons = "; ".join(story.drift.reasons[:2])
        table.add_row("drift", f"share {story.drift.drift_share:.0%} in {story.drift.rows:,} predictions: {reasons}")
        table.add_row("retraining", f"{story.retraining['dag_run_id']}, run type {story.retraining['run_type']}")
        table.add_row("promotion", f"by {story.promotion.actor}: {story.promotion.reason or ''}")
        table.add_row(
            "requests",
            f"{tally.answered:,} answered, {tally.failed} failed, "
            f"median {statistics.median(tally.seconds) * 1000:.1f} ms for 10 rows",
        )
        chain = sorted(node.label for node in story.lineage.nodes if node.kind == "artifact")
        table.add_row("traced", f"request {story.request_id} → {', '.join(chain)}")
        table.add_row(
            "time",
            f"{sum(story.timings.values()):.0f} s: " + ", ".join(f"{k} {v:.0f}" for k, v in story.timings.items()),
        )
        table.add_row("report", str(story.drift.report_uri))
        table.add_row("Airflow", f"{self.airflow.url}   {USER} / {self.airflow.password}")
        table.add_row("model", f"{self.metadata.deployments.get(MODEL).url}")
        self.console.print(table)


def run_demo(folder: Path, dags: Path, console: Console, *, keep_running: bool) -> int:
    """Run the loop; 0 if it closed. Stops everything at the end, whatever happens."""
    if not (dags / f"{TRAINING}.py").exists():
        raise ConfigurationError(
            f"The example DAGs are not in {dags}.", hint="Run the demo from a clone: git clone … && make demo"
        )
    demo = Demo(folder, dags, console)
    try:
        demo.run()
        demo.summary()
        if keep_running:
            console.print("Airflow stays up, look around. [b]Ctrl-C[/b] ends it.")
            while True:
                demo.airflow.check_alive()
                time.sleep(1)
        return 0
    except KeyboardInterrupt:
        console.print("Stopping…")
        return 0 if demo.story.lineage else 130
    finally:
        demo.stop()


def _metrics(version: ModelVersion) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in sorted(version.metrics.items()))


def _examples() -> Any:
    return importlib.import_module("windsock_examples.tumours")
