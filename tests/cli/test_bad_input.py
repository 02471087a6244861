"""Whatever is wrong outside: one paragraph of the error tree, the next command, and no traceback."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

STEP = """\
import os, sys
from windsock import pipeline, step

@step
def work():
    {body}

@pipeline
def job():
    work()
"""
PIPELINES = Path(__file__).parents[1] / "pipelines"


def told(done, name, *, lines=2):
    """The error is of that class, at most ``lines`` lines, and nothing else was printed."""
    text = done.err.strip()
    assert done.code == 1, done
    assert text.startswith(f"{name}: "), text
    assert "Traceback" not in text
    assert len(text.splitlines()) <= lines, text
    assert done.out == ""
    return text


@pytest.fixture
def stack(home):
    folder = home / "stacks"
    folder.mkdir(parents=True)

    def write(text):
        (folder / "s.yaml").write_text(text)
        return "--stack", "s"

    return write


class TestStack:
    def test_unknown_flavor(self, windsock, stack):
        text = told(windsock("model", "list", *stack("metadata_store: sqll\n")), "FlavorNotFound")
        assert "s.yaml, line 1" in text
        assert 'Did you mean "sql"?' in text

    def test_yaml_typo(self, windsock, stack):
        text = told(windsock("model", "list", *stack("deployer: {flavor: local\n")), "StackInvalid")
        assert "s.yaml, line 2" in text

    def test_unknown_option(self, windsock, stack):
        text = told(windsock("model", "list", *stack("metadata_store: {flavor: sql, ur: x}\n")), "ComponentInvalid")
        assert 'Did you mean "url"?' in text

    def test_missing_extra(self, windsock, stack, monkeypatch, trained):
        monkeypatch.setitem(sys.modules, "s3fs", None)
        text = told(windsock("artifact", "verify", *stack("artifact_store: {flavor: s3, bucket: b}\n")), "MissingExtra")
        assert "pip install 'airflow-provider-windsock[amazon]'" in text

    def test_missing_connection(self, windsock, stack):
        text = told(
            windsock("model", "list", *stack("metadata_store: {flavor: sql, connection: my_pg}\n")),
            "ConnectionNotFound",
        )
        assert "AIRFLOW_CONN_MY_PG" in text

    def test_bucket_that_is_gone(self, windsock, stack, moto_server, monkeypatch, trained):
        connection = {
            "conn_type": "aws",
            "login": "a",
            "password": "b",
            "extra": {"endpoint_url": moto_server, "region_name": "us-east-1"},
        }
        monkeypatch.setenv("AIRFLOW_CONN_AWS_ML", json.dumps(connection))
        option = stack("artifact_store: {flavor: s3, bucket: no-such-bucket, connection: aws_ml}\n")
        done = windsock("run", "prices", *option)
        assert "no-such-bucket" in told(done, "StoreUnavailable")

        checked = windsock("stack", "check", "s", "--output", "json")
        rows = {row["component"]: row for row in checked.json["components"]}
        assert checked.code == 1
        assert not rows["artifact_store"]["ok"]
        assert rows["artifact_store"]["hint"]
        assert rows["metadata_store"]["ok"]


class TestDatabase:
    def test_that_is_down(self, windsock, stack):
        option = stack("metadata_store: {flavor: sql, url: 'postgresql://ml:hunter2@127.0.0.1:1/x'}\n")
        text = told(windsock("model", "list", *option), "MetadataUnavailable")
        assert "hunter2" not in text

    def test_without_tables(self, windsock, stack, postgres_database):
        option = stack(f"metadata_store: {{flavor: sql, url: '{postgres_database()}'}}\n")
        assert "windsock db upgrade" in told(windsock("model", "list", *option), "SchemaOutdated")
        assert windsock("db", "check", *option).code == 1
        assert windsock("db", "upgrade", *option).code == 0
        assert windsock("db", "check", *option).code == 0
        assert windsock("model", "list", *option, "--output", "json").json == []


class TestArtifact:
    def test_that_is_corrupted(self, windsock, trained):
        path = blob(windsock, "prices.evaluate")
        path.chmod(0o644)
        path.write_bytes(b"{" + path.read_bytes()[1:-1] + b" ")
        text = told(windsock("artifact", "verify", "prices.evaluate"), "ArtifactCorrupted")
        assert "digest" in text
        told(windsock("artifact", "get", "prices.evaluate"), "ArtifactCorrupted")
        assert not list(Path.cwd().glob("prices*"))  # nothing half was written

        everything = windsock("artifact", "verify", "--output", "json")
        assert everything.code == 1
        assert [row["artifact"] for row in everything.json if not row["ok"]] == ["prices.evaluate@1"]

    def test_that_is_corrupted_is_removed_and_made_again(self, windsock, trained):
        path = blob(windsock, "prices.load_flats")
        content = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
        done = windsock("run", "prices:prices", "-p", "fail=true")  # a step that is not cached reads it
        assert "windsock artifact verify --remove" in told(done, "ArtifactCorrupted")
        assert windsock("run", "prices:prices", "--no-cache").code == 1  # the store has that content, it believes

        done = windsock("artifact", "verify", "--remove", "--output", "json")
        assert done.code == 1
        assert [row["artifact"] for row in done.json if row["removed"]] == ["prices.load_flats@1"]
        assert windsock("run", "prices:prices").code == 0
        assert path.read_bytes() == content
        assert windsock("artifact", "verify").code == 0

    def test_whose_content_is_gone(self, windsock, trained):
        blob(windsock, "prices.evaluate").unlink()
        told(windsock("artifact", "get", "prices.evaluate"), "ArtifactNotFound")

    def test_that_nobody_made(self, windsock, trained):
        assert 'Did you mean "prices.train"?' in told(windsock("artifact", "show", "prices.trian"), "ArtifactNotFound")

    def test_of_a_version_that_is_not_there(self, windsock, trained):
        assert "the latest is 1" in told(windsock("artifact", "show", "prices.train@9"), "ArtifactNotFound")


def blob(windsock, name):
    uri = windsock("artifact", "show", name, "--output", "json").json["uri"]
    return Path(uri.removeprefix("file://"))


HUGE = "99999999999999999999999"


class TestReference:
    @pytest.mark.parametrize(
        "words",
        [
            ("artifact", "show", f"prices.train@{HUGE}"),
            ("model", "show", f"prices@{HUGE}"),
            ("drift", "show", HUGE),
            ("model", "archive", "prices", HUGE),
            ("artifact", "list", "--before", "nonsense"),
            ("artifact", "versions", "prices.train", "--before", "nonsense"),
            ("runs", "list", "--before", "nonsense"),
            ("drift", "list", "--before", "nonsense"),
        ],
    )
    def test_of_nothing(self, windsock, trained, words):
        text = told(windsock(*words), windsock(*words).err.partition(":")[0])
        assert text.split(":")[0] in {"RecordNotFound", "ArtifactNotFound", "ModelNotFound"}

    def test_a_page_that_begins_behind_everything(self, windsock, trained):
        page = ("--before", f"2999-01-01T00:00:00+00:00|{HUGE}", "--output", "json")
        assert len(windsock("artifact", "list", *page).json) > 1

    def test_state_that_no_run_has(self, windsock, trained):
        assert windsock("runs", "list", "--state", "sleeping").code == 2
        assert windsock("runs", "list", "--state", "failed").out == "No run matches.\n"


class TestPlaceThatCannotBeWritten:
    """``/proc`` refuses new files, whoever asks."""

    def test_of_a_command_that_writes_a_file(self, windsock, trained):
        commands = [
            ("ArtifactError", "artifact", "get", "prices.evaluate", "--to", "/proc/x"),
            ("WindsockError", "lineage", "show", "model:prices@1", "--format", "svg", "--file", "/proc/x"),
            ("MonitoringError", "drift", "baseline", "data.parquet", "-o", "/proc/x"),
        ]
        write_table("data.parquet", {"size": [1.0, 2.0, 3.0]})
        for name, *words in commands:
            assert told(windsock(*words), name).startswith(f"{name}: /proc/x cannot be written: ")

    def test_of_the_active_stack(self, windsock, monkeypatch):
        monkeypatch.setenv("WINDSOCK_HOME", "/proc/windsock")
        told(windsock("stack", "use", "local"), "ConfigurationError")
        told(windsock("run", "prices"), "MetadataUnavailable")

    def test_a_folder_that_is_there_is_written_into_and_never_replaced(self, windsock, trained, tmp_path):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "precious").write_text("x")
        for extra in ([], ["--force"]):
            assert windsock("artifact", "get", "prices.evaluate", "--to", "mine", *extra).code == 0
        assert sorted(p.name for p in (tmp_path / "mine").iterdir()) == ["precious", "prices.evaluate@1.json"]


def write_table(path, columns):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path)


class TestPipeline:
    def test_that_is_not_there(self, windsock):
        told(windsock("run", "no_such_module"), "PipelineInvalid")
        told(windsock("run", "no_such_file.py"), "PipelineInvalid")
        assert 'Did you mean "prices"?' in told(windsock("run", "prices:price"), "PipelineInvalid")

    def test_parameter_that_it_does_not_have(self, windsock):
        assert 'Did you mean "rows"?' in told(windsock("run", "prices", "-p", "row=3"), "UnknownParameter")

    def test_parameter_of_another_type(self, windsock):
        told(windsock("run", "prices", "-p", "rows=many"), "TypeMismatch")

    def test_parameter_without_a_value_is_a_usage_mistake(self, windsock):
        assert windsock("run", "prices", "-p", "rows").code == 2

    def test_step_that_raises_shows_its_own_line(self, windsock, trained):
        text = told(windsock("run", "prices", "-p", "fail=true"), "StepFailed")
        assert "ValueError: the auditor said no" in text
        assert re.search(r"prices\.py, line \d+, in evaluate", text)
        states = windsock("runs", "show", "prices", "--output", "json").json
        assert states["state"] == "failed"
        assert [s["state"] for s in states["steps"]] == ["cached", "cached", "failed"]

    def test_step_that_exits_chooses_no_exit_code(self, windsock, tmp_path):
        (tmp_path / "leaving.py").write_text(STEP.format(body="sys.exit(3)"))
        assert "SystemExit: 3" in told(windsock("run", "leaving.py"), "StepFailed")
        assert windsock("runs", "show", "job", "--output", "json").json["state"] == "failed"
        (tmp_path / "gone.py").write_text("import sys\nsys.exit(0)\n")
        told(windsock("run", "gone.py"), "PipelineInvalid")

    def test_step_whose_value_cannot_be_stored_is_named(self, windsock, tmp_path):
        (tmp_path / "odd.py").write_text(STEP.format(body="return type('Odd', (), {})()"))
        assert 'Output "output" of step "work"' in told(windsock("run", "odd.py"), "MaterializerNotFound")

    def test_what_steps_and_modules_print_stays_out_of_the_json(self, home, tmp_path):
        text = STEP.format(body="print('loud'); os.system('echo louder')") + "print('loading')\n"
        (tmp_path / "loud.py").write_text(text)
        for words in (["run", "loud.py"], ["dag", "show", "loud.py"], ["dag", "validate", "loud.py"]):
            command = [sys.executable, "-m", "windsock.provider.cli.main", *words, "--output", "json"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            json.loads(done.stdout)
            assert "loading" in done.stderr
            assert ("loud\n" in done.stderr and "louder" in done.stderr) is (words[0] == "run")

    def test_module_that_imports_what_is_not_there(self, windsock, tmp_path):
        (tmp_path / "broken.py").write_text("import os\nimport a_library_that_is_not_there\n")
        for target in ("broken.py", "broken"):
            text = told(windsock("run", target), "PipelineInvalid")
            assert "broken.py, line 2" in text
            assert 'Install the package that holds "a_library_that_is_not_there"' in text

    def test_module_that_is_no_python(self, windsock, tmp_path):
        (tmp_path / "unfinished.py").write_text("def f(:\n")
        assert "unfinished.py, line 1" in told(windsock("run", "unfinished.py"), "PipelineInvalid")

    def test_file_with_the_name_of_another_module(self, windsock, tmp_path):
        for folder in (tmp_path / "a", tmp_path / "b"):
            folder.mkdir()
            (folder / "twice.py").write_text((PIPELINES / "prices.py").read_text())
        (tmp_path / "types.py").write_text("")
        rows = windsock("dag", "validate", "a/twice.py", "b/twice.py", "types.py", "--output", "json").json
        assert [row["pipeline"] for row in rows] == ["prices", None, None]
        assert 'another module has the name "twice"' in rows[1]["error"]
        assert 'another module has the name "types"' in rows[2]["error"]

    @pytest.mark.parametrize("target", [".", ":prices", "a/b", "not.a.module:prices", "my.pipeline.py", "no.yaml"])
    def test_that_has_no_such_name(self, windsock, tmp_path, target):
        (tmp_path / "my.pipeline.py").write_text("")
        done = windsock("run", target)
        told(done, "PipelineFileInvalid" if target.endswith("yaml") else "PipelineInvalid")
        assert len(done.err.splitlines()) == 2  # with what to do

    def test_yaml_that_contains_itself(self, windsock, tmp_path):
        (tmp_path / "p.yaml").write_text(
            "name: p\nsteps: &all\n  - name: x\n    uses: prices:train\n    with: {a: *all}\n"
        )
        text = told(windsock("run", "p.yaml"), "PipelineFileInvalid")
        assert "p.yaml, line 2" in text
        assert "contains itself" in text

    def test_yaml_of_aliases_of_aliases(self, windsock, tmp_path):
        lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
        lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
        (tmp_path / "p.yaml").write_text("\n".join(lines))
        assert "100,000" in told(windsock("run", "p.yaml"), "PipelineFileInvalid")

    def test_yaml_that_is_no_text(self, windsock, tmp_path):
        (tmp_path / "p.yaml").write_bytes(b"\xff\xfe\x00")
        assert "UTF-8" in told(windsock("run", "p.yaml"), "PipelineFileInvalid")


class TestModel:
    def test_that_is_not_there(self, windsock, trained):
        told(windsock("model", "show", "pricess"), "ModelNotFound")
        told(windsock("model", "show", "prices@9"), "ModelNotFound")
        told(windsock("model", "show", "prices@champion"), "AliasNotFound")

    def test_gate_that_does_not_hold(self, windsock, trained):
        told(windsock("model", "promote", "prices", "--gate", "r2>=1.5"), "GateFailed", lines=4)
        assert "production" not in windsock("model", "list", "--output", "json").json[0]["aliases"]

    def test_gate_that_raises(self, windsock, trained):
        assert "TypeError" in told(windsock("model", "promote", "prices", "--gate", "os:system"), "RegistryError")

    def test_gate_that_cannot_be_read(self, windsock, trained):
        told(windsock("model", "promote", "prices", "--gate", "r2"), "RegistryError")


class TestDrift:
    def test_data_that_is_not_there(self, windsock):
        told(windsock("drift", "baseline", "nowhere.parquet", "-o", "b"), "DataUnreadable")

    def test_data_without_rows(self, windsock, tmp_path):
        (tmp_path / "nothing.csv").write_text("")
        (tmp_path / "header.csv").write_text("size,price\n")
        write_table("none.parquet", {"size": []})
        for file in ("nothing.csv", "header.csv", "none.parquet"):
            told(windsock("drift", "baseline", file, "-o", "b"), "DataUnreadable")
        assert not (tmp_path / "b").exists()

    def test_column_that_is_not_there(self, windsock):
        write_table("data.parquet", {"size": [1.0, 2.0], "price": [1.0, 2.0]})
        for option in ("--target", "--prediction", "--column"):
            done = windsock("drift", "baseline", "data.parquet", "-o", "b", option, "prices")
            assert 'Did you mean "price"?' in told(done, "DataUnreadable")
        assert windsock("drift", "baseline", "data.parquet", "-o", "b").code == 0
        done = windsock("drift", "check", "data.parquet", "--baseline", "b", "--column", "sice")
        assert 'Did you mean "size"?' in told(done, "DataUnreadable")

    def test_byte_order_mark_of_a_spreadsheet(self, windsock, tmp_path):
        rows = "".join(f"{i},{i % 7}\n" for i in range(100))
        (tmp_path / "plain.csv").write_text(f"size,floor\n{rows}", encoding="utf-8")
        (tmp_path / "marked.csv").write_text(f"size,floor\n{rows}", encoding="utf-8-sig")
        assert windsock("drift", "baseline", "plain.csv", "-o", "b").code == 0
        done = windsock("drift", "check", "marked.csv", "--baseline", "b", "--output", "json")
        assert done.code == 0
        assert set(done.json["features"]) == {"size", "floor"}

    def test_raw_data_against_a_models_baseline(self, windsock, trained):
        """It has no predictions yet, and pandas wrote its index: neither is drift."""
        import pandas as pd

        flats = pd.read_feather(blob(windsock, "prices.load_flats"))
        flats.sample(frac=1.0, random_state=0).to_parquet("shuffled.parquet")
        done = windsock("drift", "check", "shuffled.parquet", "--model", "prices@1", "--output", "json")
        assert done.code == 0, done
        assert set(done.json["features"]) >= {"size", "floor"}
        assert set(done.json["features"]) <= {"size", "floor", "price"}

    def test_another_models_baseline(self, windsock, trained):
        write_table("wine.parquet", {"alcohol": [float(i % 9) for i in range(200)]})
        done = windsock("drift", "check", "wine.parquet", "--model", "prices@1", "--output", "json")
        assert done.code == 3
        assert {f["status"] for f in done.json["features"].values()} == {"degenerate"}
        assert any("absent" in reason for reason in done.json["reasons"])

    def test_no_rows_to_compare(self, windsock):
        """Nothing could be compared: that is not "no drift"."""
        write_table("data.parquet", {"size": [float(i) for i in range(100)]})
        write_table("none.parquet", {"size": []})
        assert windsock("drift", "baseline", "data.parquet", "-o", "b").code == 0
        done = windsock("drift", "check", "none.parquet", "--baseline", "b", "--output", "json")
        assert (done.code, done.json["status"]) == (4, "degenerate"), done

    def test_baseline_that_is_not_there(self, windsock):
        told(windsock("drift", "check", "x.parquet", "--baseline", "b"), "BaselineNotFound")

    def test_baseline_that_is_none(self, windsock, tmp_path):
        (tmp_path / "b").write_text("no profile")
        told(windsock("drift", "check", "x.parquet", "--baseline", "b"), "ProfileMismatch")


class TestDeployment:
    def test_that_is_not_there(self, windsock, trained):
        for verb in ("show", "delete", "logs", "rollback"):
            told(windsock("deployment", verb, "nothing"), "DeploymentNotFound")

    def test_of_a_model_that_nobody_promoted(self, windsock, trained):
        told(windsock("deployment", "deploy", "prices"), "AliasNotFound")
