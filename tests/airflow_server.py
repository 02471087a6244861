"""A real Airflow for tests: its processes, on free ports of 127.0.0.1, over a home of its own.

It is the demo's own :class:`PrivateAirflow`, so a test sees what a user of ``windsock demo`` sees. Nothing is left
behind: every process of that home ends with the test session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from windsock.provider.cli.demo.airflow import COMPONENTS, PrivateAirflow

REPOSITORY = Path(__file__).parents[1]
USERS = {"admin": "admin", "viewer": "viewer", "stranger": ""}
"""The stranger is logged in and, without a role, may see nothing."""

StartAirflow = Callable[..., PrivateAirflow]


@pytest.fixture(scope="session")
def start_airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartAirflow]:
    """``start_airflow(dags, components=…, environment=…, users=…)``: a running, healthy Airflow.

    It takes about 15 seconds (25 with all four components), so share it: make a session fixture of yours on top of it.
    ``windsock_examples`` can be imported by its DAGs, and ``WINDSOCK_HOME`` is ``airflow.folder / "windsock"``.
    """
    with ExitStack() as running:

        def start(
            dags: Path,
            *,
            components: Sequence[str] = COMPONENTS,
            environment: Mapping[str, str] | None = None,
            users: Mapping[str, str] = USERS,
        ) -> PrivateAirflow:
            folder = tmp_path_factory.mktemp("airflow")
            own = {"PYTHONPATH": str(REPOSITORY / "dags"), "WINDSOCK_HOME": str(folder / "windsock")}
            airflow = PrivateAirflow(folder, dags, {**own, **(environment or {})}, components=components, users=users)
            running.callback(airflow.stop)
            airflow.prepare()
            airflow.migrate()
            airflow.start()
            airflow.wait_until_healthy()
            return airflow

        yield start
