"""Alerts arrive, at a real HTTP server; and what goes wrong names no secret."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk import task as airflow_task
from windsock.hooks.notifications import AlertNotifier
from windsock.provider.alerters.base import Alert
from windsock.provider.alerters.webhook import WebhookAlerter
from windsock.provider.component import ComponentContext
from windsock.provider.errors import AlertNotSent, ComponentInvalid
from windsock.provider.security.credentials import EnvironmentCredentials
from windsock.provider.settings import Settings


class Receiver:
    def __init__(self) -> None:
        self.received: list[tuple[str, str | None, dict[str, Any]]] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.received.append((self.path, self.headers.get("Authorization"), body))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    thread = threading.Thread(target=one.server.serve_forever, daemon=True)
    thread.start()
    yield one
    one.server.shutdown()
    one.server.server_close()
    thread.join()


def alerter(environ: dict[str, str] | None = None, **options: Any) -> WebhookAlerter:
    context = ComponentContext(Settings.load(environ={}), EnvironmentCredentials(environ or {}))
    made = WebhookAlerter.from_mapping(options, context)
    assert isinstance(made, WebhookAlerter)
    return made


ALERT = Alert("Drift", "petals grew", key="drift/flowers", links={"report": "http://example.com/1"})


class TestSend:
    def test_the_whole_alert(self, receiver: Receiver) -> None:
        alerter(url=f"{receiver.url}/hook").send(ALERT)
        assert receiver.received == [("/hook", None, ALERT.to_dict())]

    def test_in_the_form_of_a_chat(self, receiver: Receiver) -> None:
        alerter(url=receiver.url, template={"text": "*{title}*: {text}", "tags": ["{severity}"]}).send(ALERT)
        assert receiver.received[0][2] == {"text": "*Drift*: petals grew", "tags": ["warning"]}

    def test_with_the_token_of_a_connection(self, receiver: Receiver) -> None:
        connection = {"conn_type": "http", "host": receiver.url, "password": "s3cret", "extra": {"path": "alerts"}}
        alerter({"AIRFLOW_CONN_PAGER": json.dumps(connection)}, connection="pager").send(ALERT)
        assert receiver.received[0][:2] == ("/alerts", "Bearer s3cret")


class TestWhatGoesWrong:
    def test_refused(self, receiver: Receiver) -> None:
        receiver.status = 500
        with pytest.raises(AlertNotSent, match="answered 500") as error:
            alerter(url=f"{receiver.url}/T0KEN-IN-PATH").send(ALERT)
        assert "T0KEN" not in str(error.value)

    def test_nobody_there(self) -> None:
        with pytest.raises(AlertNotSent, match="refused"):
            alerter(url="http://127.0.0.1:9/secret").send(ALERT)

    @pytest.mark.parametrize("options", [{}, {"url": "http://a", "connection": "b"}, {"url": "file:///etc/passwd"}])
    def test_configured_wrongly(self, options: dict[str, Any]) -> None:
        with pytest.raises(ComponentInvalid, match=r"webhook|url|connection"):
            alerter(**options)

    def test_a_check_wakes_nobody(self, receiver: Receiver) -> None:
        assert alerter(url=receiver.url).check().ok
        missing = alerter(connection="nothing").check()
        assert not missing.ok
        assert "AIRFLOW_CONN_NOTHING" in missing.detail
        assert receiver.received == []


class TestNotifier:
    def test_a_failed_task_alerts_through_the_stack(
        self, run_dag: Any, windsock_home: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (windsock_home / "stacks").mkdir(parents=True)
        (windsock_home / "stacks" / "loud.yaml").write_text(
            f"name: loud\nalerter: {{flavor: webhook, url: '{receiver.url}'}}\n"
        )
        with DAG("alerting", schedule=None) as dag:

            @airflow_task(on_failure_callback=AlertNotifier(title="{{ dag.dag_id }} broke", stack="loud"))
            def break_it() -> None:
                raise RuntimeError("on purpose")

            break_it()
        assert run_dag(dag).tasks["break_it"] == "failed"
        ((_, _, body),) = receiver.received
        assert body["title"] == "alerting broke"
        assert body["facts"]["task_id"] == "break_it"
