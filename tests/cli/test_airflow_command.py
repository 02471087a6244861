"""``airflow windsock …`` and what Airflow learns about the provider, in a real Airflow home."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from windsock.provider import get_provider_info

PROVIDER = Path(__file__).parents[2] / "provider"
AIRFLOW = str(Path(sys.executable).with_name("airflow"))


@pytest.fixture(scope="module")
def airflow(tmp_path_factory):
    folder = tmp_path_factory.mktemp("airflow")
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("WINDSOCK_", "AIRFLOW_"))}

    def run(*words, **variables):
        variables = {
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "COLUMNS": "4000",
            **variables,
        }
        return subprocess.run(
            [AIRFLOW, *words], cwd=folder, env={**environ, **variables}, capture_output=True, text=True, check=False
        )

    return run


class TestCommand:
    def test_uses_airflows_configuration_and_connections(self, airflow, tmp_path):
        (tmp_path / "s.yaml").write_text("metadata_store: {flavor: sql, connection: ml_db}\n")
        done = airflow(
            "windsock", "stack", "check", "--output", "json",
            AIRFLOW__WINDSOCK__HOME=str(tmp_path / "home"),
            AIRFLOW__WINDSOCK__STACK="s",
            AIRFLOW__WINDSOCK__STACKS_FOLDER=str(tmp_path),
            AIRFLOW_CONN_ML_DB=json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "ml.db")}),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        rows = {row["component"]: row for row in json.loads(done.stdout)["components"]}
        assert str(tmp_path / "ml.db") in rows["metadata_store"]["detail"]
        assert str(tmp_path / "home") in rows["artifact_store"]["detail"]

    def test_passes_the_exit_code_on(self, airflow):
        done = airflow("windsock", "stack", "show", "nowhere")
        assert done.returncode == 1
        assert 'StackNotFound: Stack "nowhere" is not known' in done.stderr
        assert "Traceback" not in done.stderr

    def test_the_audit_trail_names_who_types_it(self, airflow, tmp_path):
        from getpass import getuser

        from windsock.provider.metadata import Metadata, NewArtifact, NewModelVersion

        metadata = Metadata.open(f"sqlite:///{tmp_path / 'windsock.db'}")
        digest = "blake3:" + "0" * 64
        made = metadata.artifacts.record(NewArtifact(artifact="m", uri="file:///m", digest=digest, size=1, type="int"))
        metadata.models.register(NewModelVersion(model="churn", artifact=made.ref()))
        cases = (({}, getuser()), ({"AIRFLOW__WINDSOCK__ACTOR": "platform"}, "platform"))
        for version, (variables, actor) in enumerate(cases, 1):
            done = airflow(
                "windsock", "model", "archive", "churn", str(version), "--reason", "old",
                AIRFLOW__WINDSOCK__HOME=str(tmp_path), **variables,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert metadata.audit.list()[0].actor == f"user:{actor}"
            metadata.models.register(NewModelVersion(model="churn", artifact=made.ref(), source=actor))

    def test_help_lists_the_nouns(self, airflow):
        done = airflow("windsock", "--help")
        assert "deployment" in done.stdout


class TestProviderInfo:
    def test_is_valid_for_airflow(self):
        import airflow
        import jsonschema

        schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
        jsonschema.validate(get_provider_info(), schema)

    def test_everything_that_it_names_is_there(self):
        info = get_provider_info()
        names = [c["hook-class-name"] for c in info["connection-types"]]
        names += [a["handler"] for a in info["asset-uris"]] + info["cli"]
        names += (
            [p["plugin-class"] for p in info["plugins"]] + info.get("extra-links", []) + info.get("notifications", [])
        )
        for name in names:
            module, _, attribute = name.rpartition(".")
            assert getattr(import_module(module), attribute), name
        for section in ("hooks", "operators", "sensors", "triggers"):
            for module in (m for entry in info[section] for m in entry["python-modules"]):
                import_module(module)

    def test_the_configuration_section_has_every_setting(self):
        from dataclasses import fields

        from windsock.provider.settings import Settings

        options = get_provider_info()["config"]["windsock"]["options"]
        settings = {f.name for f in fields(Settings)} - {"stacks_folders"} | {"stacks_folder"}
        assert settings <= set(options)
        assert options["sql_alchemy_conn"]["sensitive"] is True

    def test_imports_the_standard_library_only(self):
        for path in (PROVIDER / "__init__.py", PROVIDER / "info.py", PROVIDER.parent / "__init__.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    assert {a.name.split(".")[0] for a in node.names} <= sys.stdlib_module_names
                if isinstance(node, ast.ImportFrom) and node.level == 0:
                    assert (node.module or "").split(".")[0] in sys.stdlib_module_names

    def test_airflow_shows_it(self, airflow):
        shown = airflow("providers", "get", "airflow-provider-windsock", "--full", "--output", "json")
        assert shown.returncode == 0, shown.stderr
        assert "windsock.hooks.stacks.StackHook" in shown.stdout
        sections = airflow("config", "get-value", "windsock", "step_cache")
        assert sections.stdout.strip() == "True"
