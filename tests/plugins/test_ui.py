"""The plugin as Airflow finds it: in every process, so it must weigh nothing; and all of it, as the provider says."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from servers import missing

if TYPE_CHECKING:
    from plugin_world import World

AIRFLOW = (sys.executable, "-m", "airflow")
NAME = "airflow-provider-windsock"
APP = Path(__file__).parents[2] / "plugins" / "app"

MEASURE = """
import json, sys, time
import airflow
from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

before = set(sys.modules)
times = []
for _ in range(7):
    for name in [name for name in sys.modules if name.startswith("windsock.plugins")]:
        del sys.modules[name]
    began = time.process_time()
    import windsock.plugins.ui
    times.append(time.process_time() - began)
print(json.dumps({"seconds": min(times), "modules": sorted(set(sys.modules) - before)}))
"""


def run(*command: str) -> str:
    # Not in the checkout, where Python would find Windsock, and Airflow the plugin, a second time.
    folder = tempfile.gettempdir()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestPlugin:
    def test_its_import_weighs_nothing(self) -> None:
        measured = json.loads(run(sys.executable, "-c", MEASURE))
        assert measured["modules"] == ["windsock.plugins", "windsock.plugins.listener", "windsock.plugins.ui"]
        assert measured["seconds"] < 0.005

    def test_airflow_loads_it_once_from_its_entry_point(self, airflow_home: object) -> None:
        (plugin,) = [one for one in json.loads(run(*AIRFLOW, "plugins", "-o", "json")) if one["name"] == "windsock"]
        assert NAME in plugin["source"]
        assert "windsock.plugins.listener.RunListener" in plugin["listeners"]
        assert str(plugin["react_apps"]).count("bundle_url") == 3

    def test_the_ui_is_told_of_every_page(self, world: World) -> None:
        plugins = world.airflow.request("GET", "/api/v2/plugins")["plugins"]
        (plugin,) = [one for one in plugins if one["name"] == "windsock"]
        places = {(app["destination"], app["url_route"]) for app in plugin["react_apps"]}
        assert places == {("nav", "windsock"), ("dag", "windsock-lineage"), ("dag_run", "windsock-run-lineage")}
        assert all(not app["bundle_url"].startswith("/") for app in plugin["react_apps"])
        assert world.airflow.request("GET", "/api/v2/plugins/importErrors")["total_entries"] == 0

    def test_the_provider_lists_what_there_is(self, airflow_home: object) -> None:
        (provider,) = json.loads(run(*AIRFLOW, "providers", "get", NAME, "--full", "-o", "json"))
        assert provider["plugins"] == [{"name": "windsock", "plugin-class": "windsock.plugins.ui.WindsockPlugin"}]
        assert set(provider["extra-links"]) == {
            "windsock.operators.links.DriftReportLink",
            "windsock.operators.links.LineageLink",
        }
        classes = [*provider["extra-links"], *(one["hook-class-name"] for one in provider["connection-types"])]
        modules = [name for kind in ("operators", "hooks", "sensors", "triggers") for name in _modules(provider[kind])]
        for name in [*modules, *(one.rpartition(".")[0] for one in classes)]:
            __import__(name)

    def test_a_task_links_to_its_lineage(self, world: World) -> None:
        from plugin_world import DAG

        path = f"/api/v2/dags/{DAG}/dagRuns/{world.runs[DAG]}/taskInstances/train/links"
        links = world.airflow.request("GET", path)["extra_links"]
        assert links["Lineage"] == f"{world.airflow.url}/dags/{DAG}/runs/{world.runs[DAG]}/plugin/windsock-run-lineage"


def _modules(entries: list[dict[str, Any]]) -> list[str]:
    return [module for entry in entries for module in entry["python-modules"]]


@pytest.fixture(scope="module")
def npm() -> str:
    npm = shutil.which("npm")
    if npm is None:
        missing("npm")
    if not (APP / "node_modules" / ".package-lock.json").exists():
        if not os.environ.get("CI"):
            pytest.skip("plugins/app/node_modules is missing; run: make ui")
        with (APP / ".install.lock").open("w") as lock:  # several workers may come here at once
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (APP / "node_modules" / ".package-lock.json").exists():  # what npm writes last
                subprocess.run([str(npm), "--prefix", str(APP), "ci"], check=True, timeout=300)
    return str(npm)


class TestBundle:
    def test_it_is_what_its_sources_make(self, npm: str, tmp_path: Path) -> None:
        built = tmp_path / "windsock.js"
        run(npm, "--prefix", str(APP), "run", "build", "--", str(built))
        committed = (APP.parent / "static" / "windsock.js").read_bytes()
        assert built.read_bytes() == committed, "Run `make ui` and commit plugins/static/windsock.js"

    def test_types_and_layout(self, npm: str) -> None:
        report = run(npm, "--prefix", str(APP), "run", "check")
        assert "# fail 0" in report
        assert "# pass 0" not in report
