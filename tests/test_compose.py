"""docker-compose.yaml without an engine: names, files, ports, pins; and its scripts, run against real servers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from prometheus_lab import program

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]


def secrets(folder: Path) -> dict[str, str]:
    """What ``make compose-env`` writes."""
    path = folder / ".env"
    subprocess.run([sys.executable, str(ROOT / "docker" / "env.py"), str(path)], check=True, capture_output=True)
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def environment(service: str, values: dict[str, str]) -> dict[str, str]:
    """A service's environment as Compose would fill it in."""
    given = SERVICES[service]["environment"]
    return {k: re.sub(r"\$\{(\w+)(?::\?[^}]*)?\}", lambda m: values[m[1]], str(v)) for k, v in given.items()}


each_service = pytest.mark.parametrize("service", SERVICES)


class TestServices:
    @each_service
    def test_has_a_pinned_image(self, service: str) -> None:
        assert re.search(r":v?\d+\.\d+(\.\d+)?(-[\w.]+)?$", SERVICES[service]["image"])

    @each_service
    def test_publishes_on_the_loopback_interface_only(self, service: str) -> None:
        for port in SERVICES[service].get("ports", []):
            assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)

    @each_service
    def test_can_be_seen_to_be_healthy(self, service: str) -> None:
        assert ("healthcheck" in SERVICES[service]) == (service != "airflow-init")

    @each_service
    def test_mounts_what_is_there(self, service: str) -> None:
        for volume in SERVICES[service].get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists(), source
            else:
                assert source in COMPOSE["volumes"]

    @each_service
    def test_refers_to_what_is_defined(self, service: str) -> None:
        described = SERVICES[service]
        for other, condition in described.get("depends_on", {}).items():
            assert condition["condition"] in {"service_healthy", "service_completed_successfully"}
            assert (condition["condition"] == "service_healthy") == ("healthcheck" in SERVICES[other])
        assert all(config["source"] in COMPOSE["configs"] for config in described.get("configs", []))
        assert set(described.get("secrets", [])) <= set(COMPOSE["secrets"])
        if build := described.get("build"):
            file = ROOT / build["context"] / build["dockerfile"]
            assert file.is_file()
            for source in re.findall(r"^COPY (?:--\S+ )*(\S+) ", file.read_text(), flags=re.MULTILINE):
                assert (ROOT / build["context"] / source).exists(), source


class TestEnvironment:
    def test_names_options_that_airflow_and_windsock_have(self) -> None:
        import airflow
        from windsock.provider.info import PROVIDER_INFO

        file = Path(airflow.__file__).parent / "config_templates" / "config.yml"
        known = {name: set(section["options"]) for name, section in yaml.safe_load(file.read_text()).items()}
        known["windsock"] = set(PROVIDER_INFO["config"]["windsock"]["options"])
        named = re.findall(r"^\s+AIRFLOW__([A-Z_]+?)__([A-Z_]+):", TEXT, flags=re.MULTILINE)
        assert len(named) > 10
        for section, option in named:
            assert option.lower() in known[section.lower()], f"[{section}] {option}"

    def test_every_secret_is_generated_and_none_is_written_down(self, tmp_path: Path) -> None:
        made = secrets(tmp_path)
        assert {m[0] for m in re.findall(r"(?<!\$)\$\{(\w+)(:\?[^}]*)?\}", TEXT)} | {"MODEL_SERVER_TOKEN"} == set(made)
        assert not re.search(r"(?<!\$)\$\{\w+(:-[^}]*)?\}", TEXT), "a default would be a password that everybody knows"
        assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
        assert len(set(made.values())) == len(made)
        assert secrets(tmp_path) == made, "an existing file is left alone"

    def test_the_fernet_key_is_one(self, tmp_path: Path) -> None:
        from cryptography.fernet import Fernet

        Fernet(secrets(tmp_path)["AIRFLOW_FERNET_KEY"])

    def test_the_seaweedfs_identity_is_that_of_the_connection(self, tmp_path: Path) -> None:
        values = secrets(tmp_path)
        content = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda m: values[m[1]], COMPOSE["configs"]["s3-identities"]["content"])
        credentials = json.loads(content)["identities"][0]["credentials"][0]
        connection = json.loads(environment("airflow-scheduler", values)["AIRFLOW_CONN_OBJECT_STORE"])
        assert (credentials["accessKey"], credentials["secretKey"]) == (connection["login"], connection["password"])


class TestStack:
    def test_loads_with_the_connections_of_the_compose_file(self, tmp_path: Path) -> None:
        from windsock.provider.security.credentials import EnvironmentCredentials
        from windsock.provider.settings import Settings
        from windsock.provider.stack import Stack

        values = environment("airflow-scheduler", secrets(tmp_path))
        values["AIRFLOW__WINDSOCK__STACKS_FOLDER"] = str(ROOT / "docker" / "stacks")
        stack = Stack.load(settings=Settings.load(environ=values), credentials=EnvironmentCredentials(values))
        assert stack.name == "compose"
        assert stack.artifact_store.root == "s3://windsock/artifacts"
        assert stack.artifact_store._options()["endpoint_url"] == "http://seaweedfs:8333"
        assert (
            f"127.0.0.1:{stack.deployer.config.port}:{stack.deployer.config.port}"
            in SERVICES["airflow-scheduler"]["ports"]
        )
        assert stack.deployer._token() == secrets(tmp_path)["MODEL_SERVER_TOKEN"]


class TestScripts:
    @pytest.mark.slow
    def test_init_makes_databases_bucket_and_password(
        self, tmp_path: Path, moto_server: str, postgres_database: Callable[[], str]
    ) -> None:
        values = environment("airflow-init", secrets(tmp_path))
        run = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "WINDSOCK"))},
            **{k: v.replace("http://seaweedfs:8333", moto_server) for k, v in values.items()},
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path / 'airflow.db'}",
            "AIRFLOW__WINDSOCK__HOME": str(tmp_path / "windsock"),
            "AIRFLOW__WINDSOCK__SQL_ALCHEMY_CONN": postgres_database(),
            "AIRFLOW__WINDSOCK__STACKS_FOLDER": str(ROOT / "docker" / "stacks"),
        }
        run["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"] = str(tmp_path / "windsock" / "passwords.json")
        (tmp_path / "windsock").mkdir()
        for _ in range(2):
            done = subprocess.run(
                ["bash", str(ROOT / "docker" / "init.sh")], env=run, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        passwords = json.loads((tmp_path / "windsock" / "passwords.json").read_text())
        assert passwords == {"admin": values["AIRFLOW_ADMIN_PASSWORD"]}
        checked = subprocess.run(
            ["windsock", "stack", "check", "--output", "json"], env=run, capture_output=True, text=True, check=False
        )
        found = {row["component"]: row["ok"] for row in json.loads(checked.stdout)["components"]}
        assert found.pop("deployer") is False, "the host of the container is not known here"
        assert all(found.values()), checked.stdout

    def test_databases_have_owners_and_passwords(self, postgres_server: str) -> None:
        import psycopg

        psql = shutil.which("psql")
        assert psql, "psql comes with PostgreSQL"
        address = psycopg.conninfo.conninfo_to_dict(postgres_server)
        run = {
            **os.environ,
            "DATABASES": "acme1 acme2",
            "ACME1_DB_PASSWORD": "it's; secret",
            "ACME2_DB_PASSWORD": "b",
            "POSTGRES_USER": str(address["user"]),
            "PGHOST": str(address["host"]),
            "PGPORT": str(address["port"]),
            "PGDATABASE": "postgres",
        }
        script = ROOT / "docker" / "postgres" / "10-databases.sh"
        subprocess.run(["bash", str(script)], env=run, check=True, capture_output=True)
        with psycopg.connect(postgres_server) as connection:
            query = "SELECT datname, pg_get_userbyid(datdba) FROM pg_database WHERE datname LIKE 'acme%' ORDER BY 1"
            assert connection.execute(query).fetchall() == [("acme1", "acme1"), ("acme2", "acme2")]


class TestMonitoring:
    def test_prometheus_scrapes_a_published_service(self) -> None:
        config = yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text())
        for job in config["scrape_configs"]:
            host, _, port = job["static_configs"][0]["targets"][0].partition(":")
            assert f"127.0.0.1:{port}:{port}" in SERVICES[host]["ports"]
        job = config["scrape_configs"][0]
        assert job["authorization"]["credentials_file"] == f"/run/secrets/{SERVICES['prometheus']['secrets'][0]}"
        mounted = {volume.split(":")[1] for volume in SERVICES["prometheus"]["volumes"]}
        assert set(config["rule_files"]) <= mounted

    def test_drift_checks_push_where_prometheus_looks(self) -> None:
        config = yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text())
        job = next(job for job in config["scrape_configs"] if job["job_name"] == "pushgateway")
        assert job["honor_labels"]
        pushed = COMPOSE["x-airflow"]["environment"]["AIRFLOW__WINDSOCK__METRICS_PUSHGATEWAY"]
        assert job["static_configs"][0]["targets"] == [pushed]

    def test_promtool_accepts_the_configuration(self) -> None:
        command = [program("promtool"), "check", "config", "--syntax-only", "docker/prometheus/prometheus.yml"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
