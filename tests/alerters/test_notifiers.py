"""Alerts through Airflow's notifiers: filled in, sent, and what goes wrong names no secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.bases.notifier import BaseNotifier
from windsock.hooks.alerters import NotifierAlerter
from windsock.provider.alerters.base import Alert
from windsock.provider.component import ComponentContext
from windsock.provider.errors import AlertNotSent, ComponentInvalid
from windsock.provider.flavors import resolve
from windsock.provider.security.credentials import EnvironmentCredentials
from windsock.provider.settings import Settings


class FileNotifier(BaseNotifier):
    """Writes what it is to tell."""

    template_fields = ("text",)

    def __init__(self, path: str, text: str, fields: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.path, self.text, self.fields = path, text, fields

    def notify(self, context: Any) -> None:
        if self.text.startswith("boom"):
            raise RuntimeError("token xoxb-secret was refused")
        Path(self.path).write_text(json.dumps([self.text, self.fields]))


def alerter(notifier: str, **arguments: Any) -> NotifierAlerter:
    context = ComponentContext(Settings.load(environ={}), EnvironmentCredentials({}))
    made = NotifierAlerter.from_mapping({"notifier": notifier, "arguments": arguments}, context)
    assert isinstance(made, NotifierAlerter)
    return made


HERE = f"{__name__}.FileNotifier"
ALERT = Alert("churn drifted", "tenure moved", "warning", "drift/churn", {"log": "http://a/log"}, status="resolved")


class TestNotifiers:
    def test_arguments_are_filled_in_at_any_depth(self, tmp_path: Path) -> None:
        path = tmp_path / "told"
        told = alerter(
            HERE, path=str(path), text="[{status}] {title}: {text} ({links})", fields={"level": ["{severity}"], "n": 3}
        )
        told.send(ALERT)
        assert json.loads(path.read_text()) == [
            "[resolved] churn drifted: tenure moved (log: http://a/log)",
            {"level": ["warning"], "n": 3},
        ]

    def test_it_is_a_flavor(self) -> None:
        assert resolve("alerter", "notifier") is NotifierAlerter

    def test_a_notifier_that_fails_tells_no_secret(self) -> None:
        with pytest.raises(AlertNotSent) as caught:
            alerter(HERE, path="x", text="boom").send(ALERT)
        assert "xoxb" not in str(caught.value)

    @pytest.mark.parametrize(
        ("notifier", "said"),
        [
            ("acme.pager.Pager", "cannot be imported"),
            ("json.JSONDecoder", "is no notifier"),
            ("nothing", "cannot be imported"),
        ],
    )
    def test_what_is_no_notifier_says_so(self, notifier: str, said: str) -> None:
        with pytest.raises(ComponentInvalid, match=said):
            alerter(notifier).send(ALERT)
        check = alerter(notifier).check()
        assert not check.ok
        assert said in check.detail

    def test_a_check_finds_wrong_arguments_and_sends_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "told"
        assert alerter(HERE, path=str(path), text="x").check().ok
        assert not alerter(HERE, wrong=1).check().ok
        assert not path.exists()
