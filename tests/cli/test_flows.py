"""The commands on a home in which a pipeline really ran."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "windsock.provider.cli.main"]


class TestRun:
    def test_gives_references_and_states(self, trained):
        assert trained["states"] == {
            "load_flats": "success",
            "train": "success",
            "evaluate": "success",
            "register_model": "success",
        }
        assert trained["outputs"]["train"]["output"]["artifact"] == "prices.train"

    def test_again_takes_what_is_unchanged(self, windsock, trained):
        states = windsock("run", "prices", "--output", "json").json["states"]
        assert {states[name] for name in ("load_flats", "train", "evaluate")} == {"cached"}

    def test_without_the_cache(self, windsock, trained):
        states = windsock("run", "prices", "--no-cache", "--output", "json").json["states"]
        assert states["train"] == "success"

    def test_with_a_parameter(self, windsock, trained):
        done = windsock("run", "prices:prices", "-p", "rows=50")
        assert done.code == 0, done.err
        assert "prices.load_flats@2" in done.out

    def test_of_a_file(self, windsock, trained):
        file = Path(__file__).parents[1] / "pipelines" / "prices.py"
        assert windsock("run", f"{file}:prices").code == 0


class TestDag:
    def test_show(self, windsock):
        plan = windsock("dag", "show", "prices", "--output", "json").json
        assert {t["task"]: t["after"] for t in plan["tasks"]} == {
            "load_flats": [],
            "train": ["load_flats"],
            "evaluate": ["train", "load_flats"],
            "register_model": ["train", "evaluate", "load_flats"],
        }
        assert plan["parameters"]["rows"] == {"type": "int", "default": 200, "required": False}

    def test_mermaid(self, windsock):
        drawn = windsock("dag", "show", "prices", "--format", "mermaid").out
        assert drawn.startswith("flowchart LR\n")
        assert "  t0 --> t1\n" in drawn

    def test_validate_tells_of_every_target(self, windsock, tmp_path):
        (tmp_path / "empty.py").write_text("")
        (tmp_path / "broken.py").write_text("1 / 0\n")
        done = windsock("dag", "validate", "prices", "empty.py", "broken.py", "--output", "json")
        assert done.code == 1
        assert [(r["pipeline"], bool(r["error"])) for r in done.json] == [("prices", False), (None, True), (None, True)]
        assert "ZeroDivisionError" in done.json[2]["error"]

    def test_of_a_yaml_file(self, windsock, tmp_path):
        import prices

        (tmp_path / "prices.yaml").write_text(prices.prices.spec.to_yaml())
        plan = windsock("dag", "show", "prices.yaml", "--output", "json").json
        assert [t["task"] for t in plan["tasks"]] == ["load_flats", "train", "evaluate", "register_model"]


class TestStack:
    def test_use_is_remembered_and_an_environment_variable_wins(self, windsock, home, monkeypatch):
        (home / "stacks").mkdir(parents=True)
        (home / "stacks" / "production.yaml").write_text("drift_detector: statistical\n")
        assert windsock("stack", "use", "production").code == 0
        assert (home / "active_stack").read_text() == "production\n"
        assert {r["name"]: r["active"] for r in windsock("stack", "list", "--output", "json").json} == {
            "local": False,
            "production": True,
        }
        monkeypatch.setenv("WINDSOCK_STACK", "local")
        assert windsock("stack", "show", "--output", "json").json["name"] == "local"
        assert "WINDSOCK_STACK=local" in windsock("stack", "use", "production").err

    def test_use_refuses_what_cannot_be_loaded(self, windsock, home):
        (home / "stacks").mkdir(parents=True)
        (home / "stacks" / "bad.yaml").write_text("deployr: local\n")
        assert windsock("stack", "use", "bad").code == 1
        assert not (home / "active_stack").exists()

    def test_one_broken_file_does_not_hide_the_others(self, windsock, home):
        (home / "stacks").mkdir(parents=True)
        (home / "stacks" / "bad.yaml").write_text("deployr: local\n")
        rows = {r["name"]: r["problem"] for r in windsock("stack", "list", "--output", "json").json}
        assert rows["local"] is None
        assert "line 1" in rows["bad"]

    def test_check(self, windsock):
        done = windsock("stack", "check", "--output", "json")
        assert done.code == 0, done.out
        assert done.json["ok"]
        assert all(row["seconds"] >= 0 and row["detail"] for row in done.json["components"])

    def test_doctor(self, windsock):
        done = windsock("doctor", "--output", "json")
        assert done.code == 0, done.out
        found = {f["what"]: f for f in done.json["findings"]}
        assert found["apache_airflow_provider"]["ok"]
        assert found["airflow.plugins"]["ok"]
        assert found["database schema"]["ok"]


class TestArtifact:
    def test_list_is_newest_first(self, windsock, trained):
        names = [r["artifact"] for r in windsock("artifact", "list", "--output", "json").json]
        assert names[0] == "prices.register_model"
        assert {"prices.load_flats", "prices.train", "prices.evaluate"} <= set(names)

    def test_filters_and_pages(self, windsock, trained):
        done = windsock("artifact", "list", "--limit", "1", "--output", "json")
        assert len(done.json) == 1
        before = re.search(r"--before '([^']+)'", done.err)
        assert before, done.err
        following = windsock("artifact", "list", "--limit", "1", "--before", before[1], "--output", "json").json
        assert following[0]["id"] < done.json[0]["id"]
        tables = windsock("artifact", "list", "--type", "pandas.DataFrame", "--output", "json").json
        assert {r["artifact"] for r in tables} == {"prices.load_flats"}

    def test_get_writes_the_very_bytes(self, windsock, trained, tmp_path):
        from windsock.provider.artifacts.digests import digest_file

        done = windsock("artifact", "get", "prices.evaluate@1", "--to", "out/metrics.json", "--output", "json")
        assert digest_file(tmp_path / "out" / "metrics.json") == done.json["digest"]
        assert json.loads((tmp_path / "out" / "metrics.json").read_text())["r2"] > 0.9

    def test_get_replaces_nothing_unasked(self, windsock, trained, tmp_path):
        (tmp_path / "mine").write_text("precious")
        assert windsock("artifact", "get", "prices.evaluate", "--to", "mine").code == 1
        assert (tmp_path / "mine").read_text() == "precious"
        assert windsock("artifact", "get", "prices.evaluate", "--to", "mine", "--force").code == 0

    def test_verify_all(self, windsock, trained):
        done = windsock("artifact", "verify")
        assert done.code == 0
        assert re.fullmatch(r"(\d+) of \1 are as they were stored\.\n", done.out)

    def test_preview(self, windsock, trained):
        shown = windsock("artifact", "preview", "prices.load_flats", "--output", "json").json
        assert list(shown["preview"]) == ["size", "floor", "price"]
        shown_text = windsock("artifact", "preview", "prices.load_flats").out
        assert "5 of 200 rows" in shown_text
        assert shown["statistics"]["columns"]["price"]["count"] == 200
        assert any("price" in line and "█" in line for line in shown_text.splitlines())
        assert "histogram" not in windsock("artifact", "show", "prices.load_flats").out

    def test_find_by_digest(self, windsock, trained):
        digest = trained["outputs"]["train"]["output"]["digest"]
        assert [r["artifact"] for r in windsock("artifact", "find", digest, "--output", "json").json] == [
            "prices.train"
        ]


class TestModel:
    def test_promote_history_why_and_archive(self, windsock, trained):
        done = windsock("model", "promote", "prices", "--gate", "r2>=0.9", "--reason", "first", "--output", "json")
        assert (done.json["version"], done.json["previous"], done.json["changed"]) == (1, None, True)
        again = windsock("model", "promote", "prices", "--gate", "r2>=0.9")
        assert "nothing changed" in again.out

        assert windsock("model", "alias", "prices", "champion", "1").code == 0
        aliases = windsock("model", "list", "--output", "json").json[0]["aliases"]
        assert aliases == {"candidate": 1, "production": 1, "champion": 1}
        history = windsock("model", "history", "prices", "--alias", "production", "--output", "json").json
        assert [(e["to_version"], e["actor"], e["reason"]) for e in history] == [(1, "user:tester", "first")]

        why = windsock("model", "why", "prices").out
        assert "user:tester put it there" in why
        assert "r2 ≥ 0.9" in why
        assert "step register_model of pipeline prices version 1" in why

        assert windsock("model", "archive", "prices", "1").code == 1  # three aliases hold it
        for name in aliases:
            assert windsock("model", "alias", "prices", name, "--remove").code == 0
        assert windsock("model", "archive", "prices", "1").code == 0
        assert windsock("model", "show", "prices@1", "--output", "json").json["state"] == "archived"

    def test_show(self, windsock, trained):
        by_alias = windsock("model", "show", "prices@candidate", "--output", "json").json
        assert by_alias == windsock("model", "show", "prices", "--version", "1", "--output", "json").json
        assert by_alias["artifact"]["artifact"] == "prices.train"
        assert "r2=" in windsock("model", "versions", "prices").out


class TestRuns:
    def test_show_by_dag_by_run_and_by_id(self, windsock, trained):
        listed = windsock("runs", "list", "--output", "json").json
        assert [r["run_id"] for r in listed] == [trained["run_id"]]
        latest = windsock("runs", "show", "prices", "--output", "json").json
        assert latest == windsock("runs", "show", f"prices/{trained['run_id']}", "--output", "json").json
        assert latest == windsock("runs", "show", listed[0]["id"], "--output", "json").json
        train = next(s for s in latest["steps"] if s["step"] == "train")
        assert [i["artifact"] for i in train["inputs"]] == ["prices.load_flats"]
        assert windsock("runs", "show", "prices").out.count("success") == 5


class TestLineage:
    def test_tree_goes_back_to_the_data(self, windsock, trained):
        out = windsock("lineage", "show", "model:prices").out
        assert "comes from" in out
        assert "prices.load_flats v1" in out

    def test_json(self, windsock, trained):
        graph = windsock("lineage", "show", "model:prices@candidate", "--direction", "up", "--output", "json").json
        ids = {n["id"] for n in graph["nodes"]}
        assert {"artifact:prices.load_flats@1", "artifact:prices.train@1", "model:prices@1"} <= ids
        assert all(e["source"] in ids and e["target"] in ids for e in graph["edges"])

    @pytest.mark.parametrize("drawing", ["text", "json", "mermaid", "dot", "svg"])
    def test_every_form_of_a_run_goes_to_a_file(self, windsock, trained, tmp_path, drawing):
        done = windsock("lineage", "show", "run:prices", "--format", drawing, "--file", "drawn")
        assert done.code == 0, done.err
        text = (tmp_path / "drawn").read_text()
        assert "prices.train" in text
        if drawing == "svg":
            ET.fromstring(text)


class TestDrift:
    @pytest.fixture
    def data(self, tmp_path):
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        random = np.random.default_rng(1)
        for name, shift in (("then", 0.0), ("now", 0.0), ("moved", 1.0)):
            table = pa.table({"age": random.normal(40 + 10 * shift, 10, 5000), "fee": random.lognormal(0, 1, 5000)})
            pq.write_table(table, tmp_path / f"{name}.parquet")

    def check(self, *words, cwd):
        """In a process of its own, which may import neither pandas nor Airflow."""
        program = (
            "import sys; from windsock.provider.cli.main import main\n"
            f"code = main({list(words)!r})\n"
            "assert not {'pandas', 'airflow', 'sqlalchemy'} & set(sys.modules), 'imported too much'\n"
            "sys.exit(code)\n"
        )
        return subprocess.run([sys.executable, "-c", program], cwd=cwd, capture_output=True, text=True, check=False)

    def test_exit_code_and_json_as_promised(self, data, tmp_path):
        made = self.check("drift", "baseline", "then.parquet", "-o", "base", cwd=tmp_path)
        assert made.returncode == 0, made.stderr
        quiet = self.check("drift", "check", "now.parquet", "--baseline", "base", "--output", "json", cwd=tmp_path)
        assert quiet.returncode == 0, quiet.stderr
        report = json.loads(quiet.stdout)
        assert (report["drifted"], report["rows"]) == (False, 5000)
        moved = self.check("drift", "check", "moved.parquet", "--baseline", "base", "--output", "json", cwd=tmp_path)
        assert moved.returncode == 3, moved.stderr
        features = json.loads(moved.stdout)["features"]
        assert {name: f["status"] for name, f in features.items()} == {"age": "drift", "fee": "ok"}
        assert set(features["age"]) >= {"status", "metrics", "reason"}

    def test_html_and_text(self, data, tmp_path):
        assert (
            self.check("drift", "baseline", "then.parquet", "now.parquet", "-o", "base", cwd=tmp_path).returncode == 0
        )
        html = self.check("drift", "check", "moved.parquet", "--baseline", "base", "--output", "html", cwd=tmp_path)
        assert html.returncode == 3, html.stderr
        assert html.stdout.lstrip().lower().startswith("<!doctype html>")
        assert "<svg" in html.stdout
        text = self.check("drift", "check", "moved.parquet", "--baseline", "base", cwd=tmp_path)
        assert "1 of 2 features drifted" in text.stdout

    def test_thresholds_and_textbook_rules(self, data, tmp_path):
        self.check("drift", "baseline", "then.parquet", "-o", "base", cwd=tmp_path)
        common = ("drift", "check", "moved.parquet", "--baseline", "base")
        assert self.check(*common, "--method", "psi", cwd=tmp_path).returncode == 3
        assert self.check(*common, "--column", "fee", cwd=tmp_path).returncode == 0
        assert self.check(*common, "--method", "nothing", cwd=tmp_path).returncode == 1
        assert self.check(*common, "--threshold", "ks", cwd=tmp_path).returncode == 2

    def test_against_the_baseline_of_a_model(self, windsock, trained, tmp_path):
        import prices
        import pyarrow as pa
        import pyarrow.parquet as pq

        flats = prices.load_flats(2000)
        model_sees = flats[["size", "floor"]]
        pq.write_table(pa.Table.from_pandas(model_sees, preserve_index=False), tmp_path / "now.parquet")
        done = windsock(
            "drift", "check", "now.parquet", "--model", "prices@candidate", "--column", "size", "--output", "json"
        )
        assert done.json["features"]["size"]["status"] in ("ok", "warn")
        assert done.code == 0

    def test_recorded_reports(self, windsock, trained, home):
        from windsock.provider.metadata import NewDriftReport
        from windsock.provider.stack import Stack

        stack = Stack.load("local")
        uri = stack.artifact_store.put_bytes("drift/1.html", b"<!doctype html>report")
        stack.metadata.drift.record(
            NewDriftReport(
                model="prices", version=1, rows=10, drifted=True, drift_share=0.5, report_uri=uri,
                features={"size": {"status": "drift", "metrics": {}, "reason": "mean moved"}}, reasons=["1 of 2"],
            )
        )  # fmt: skip
        listed = windsock("drift", "list", "--drifted", "--output", "json").json
        assert [r["model"] for r in listed] == ["prices"]
        assert windsock("drift", "list", "--quiet", "--output", "json").json == []
        assert "mean moved" in windsock("drift", "show", "1").out
        assert windsock("drift", "show", "1", "--html", "r.html").code == 0
        assert Path("r.html").read_bytes() == b"<!doctype html>report"


class TestServing:
    def post(self, url, rows):
        request = urllib.request.Request(
            f"{url}/predict", json.dumps({"instances": rows}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())

    def test_deploy_predict_trace_roll_over_roll_back_delete(self, windsock, trained):
        assert windsock("model", "promote", "prices").code == 0
        done = windsock("deployment", "deploy", "prices", "--output", "json")
        try:
            assert done.code == 0, done.err
            answer = self.post(done.json["url"], [{"size": 50.0, "floor": 2}])
            assert answer["predictions"][0] == pytest.approx(210_000, rel=0.05)

            windsock("run", "prices", "-p", "rows=300")
            assert windsock("deployment", "deploy", "prices@2").code == 0
            shown = windsock("deployment", "show", "prices", "--output", "json").json
            assert (shown["version"], shown["previous_version"], shown["live"]["phase"]) == (2, 1, "ready")
            assert windsock("deployment", "rollback", "prices", "--output", "json").json["version"] == 1
            assert "is ready" in windsock("deployment", "logs", "prices").out
            assert windsock("deployment", "list").out.count("ready") == 1
        finally:
            windsock("deployment", "delete", "prices")
        assert windsock("deployment", "list", "--output", "json").json == []

        traced = windsock("lineage", "show", "--request", answer["request_id"])
        assert traced.code == 0, traced.err
        facts = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in traced.out.split("\n\n")[0].splitlines())
        assert facts["model"] == "prices@1"
        assert facts["trained by"].startswith("step train of run prices/")
        assert facts["data prices.load_flats v1"] == trained["outputs"]["load_flats"]["output"]["digest"]
        graph = windsock("lineage", "show", "--request", answer["request_id"], "--output", "json").json
        assert graph["prediction"]["features"] == {"size": 50.0, "floor": 2}

    def test_serve_in_the_foreground_until_ctrl_c(self, trained, home, tmp_path):
        command = [*COMMAND, "serve", "prices@candidate", "--port", "0", "--no-log"]
        with subprocess.Popen(command, cwd=tmp_path, env={**os.environ}, stderr=subprocess.PIPE, text=True) as server:
            try:
                url = self.answering(server)
                assert self.post(url, [{"size": 50.0, "floor": 2}])["model_version"] == 1
            finally:
                server.send_signal(signal.SIGINT)
                server.communicate(timeout=30)
        assert server.returncode in (0, 130)

    def answering(self, server):
        deadline = time.monotonic() + 60
        for line in server.stderr:
            if found := re.search(r"answers at (http://\S+)/predict", line):
                return found[1]
            assert time.monotonic() < deadline
        raise AssertionError("the server ended")
