"""Which way each of Airflow's processes takes to the metadata, and what tasks may do at its end."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from windsock.hooks.settings import airflow_settings
from windsock.hooks.stacks import load_server_stack, load_stack
from windsock.hooks.tokens import TaskTokens
from windsock.provider.errors import SettingInvalid, TokenInvalid
from windsock.provider.metadata.rest.methods import SCOPES

if TYPE_CHECKING:
    from pathlib import Path

    from windsock.provider.stack import Stack

EXECUTION_API = "http://airflow.example.com:8080/below/execution/"


def way(stack: Stack) -> str:
    return str(dict(stack.parts())["metadata_store"])


@pytest.fixture
def over_rest(windsock_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__WINDSOCK__METADATA_TRANSPORT", "rest")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", EXECUTION_API)
    return windsock_home


class TestTheWayToTheMetadata:
    def test_is_the_database_unless_somebody_says_otherwise(self, windsock_home: Path) -> None:
        assert way(load_stack()) == way(load_server_stack()) == "sql"

    def test_of_a_task_is_the_server_that_it_talks_to_anyway(self, over_rest: Path) -> None:
        assert way(load_stack()) == "rest"
        assert load_stack().metadata.url == "http://airflow.example.com:8080/below/windsock?stack=local"

    def test_may_be_named(self, over_rest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__WINDSOCK__API_URL", "https://ml.example.com/windsock/")
        assert load_stack().metadata.url == "https://ml.example.com/windsock?stack=local"

    def test_of_the_api_server_is_the_database(self, over_rest: Path) -> None:
        """Or it would ask itself."""
        (over_rest / "stacks").mkdir(parents=True)
        (over_rest / "stacks" / "shared.yaml").write_text("metadata_store: {flavor: rest, url: 'http://x/windsock'}\n")
        assert way(load_server_stack()) == way(load_server_stack("shared")) == "sql"
        assert way(load_stack("shared")) == "rest"
        assert load_server_stack().metadata.url.startswith("sqlite")

    def test_of_the_triggerer_is_the_database(self, over_rest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        name = "airflow.jobs.triggerer_job_runner"
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        assert way(load_stack()) == "sql"

    def test_who_is_no_task_has_no_token(self, over_rest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("WINDSOCK_API_TOKEN", raising=False)
        with pytest.raises(TokenInvalid, match="this process is no running task"):
            load_stack().metadata.models.list()
        monkeypatch.setenv("WINDSOCK_API_TOKEN", "one-of-airflows")
        assert TaskTokens("http://127.0.0.1:1/windsock").token() == "one-of-airflows"

    def test_a_database_is_named_or_is_the_one_at_home(
        self, windsock_home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert not airflow_settings().database_is_named
        airflow_settings.cache_clear()
        monkeypatch.setenv("WINDSOCK_SQL_ALCHEMY_CONN", "postgresql://db.example.com/windsock")
        assert airflow_settings().database_is_named


class TestRightsOfTasks:
    def test_are_all_unless_narrowed(self, airflow_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from windsock.plugins.api.tokens import task_scopes

        assert task_scopes() == frozenset(SCOPES)
        monkeypatch.setenv("AIRFLOW__WINDSOCK__TASK_SCOPES", "steps, models:register")
        assert task_scopes() == {"read", "steps", "models:register"}
        monkeypatch.setenv("AIRFLOW__WINDSOCK__TASK_SCOPES", "steps, models:promot")
        with pytest.raises(SettingInvalid, match=r"'models:promot', which is no right") as caught:
            task_scopes()
        assert 'Did you mean "models:promote"?' in (caught.value.hint or "")
