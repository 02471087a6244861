"""What the plugin's tests look at: a running Airflow, and what has happened in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from windsock.provider.cli.demo.airflow import PrivateAirflow
    from windsock.provider.metadata import Metadata
    from windsock.provider.stack import Stack

DAG, FAILING_DAG, BARE_DAG = "tumours_pages", "refusal_pages", "bare_pages"
TOKEN = "hunter2-the-token"
PASSWORD = "correct-horse-battery"


@dataclass
class World:
    """A running Airflow; ``runs`` is the run of each DAG."""

    airflow: PrivateAirflow
    stack: Stack
    runs: dict[str, str]

    @property
    def metadata(self) -> Metadata:
        return self.stack.metadata

    def ask(self, path: str, user: str | None = "admin", *, method: str = "GET", **query: Any) -> httpx.Response:
        """What the plugin answers a user, or nobody."""
        headers = {} if user is None else {"Authorization": f"Bearer {self.airflow.token(user)}"}
        url = f"{self.airflow.url}/windsock/{path}"
        return httpx.request(method, url, params=query or None, headers=headers, timeout=60)

    def json(self, path: str, user: str = "admin", *, method: str = "GET", **query: Any) -> Any:
        answer = self.ask(path, user, method=method, **query)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()
