"""A private Airflow for tests: a home of its own from the first import on, a database when a test asks for one.

This plugin is loaded before any test module, so nothing here ever reads or writes a developer's ``~/airflow``. What
touches the internals of Airflow's core is in this file only.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.sdk import DAG

_HOME = Path(tempfile.mkdtemp(prefix="windsock-airflow-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
(_HOME / "dags").mkdir()
os.environ.update(
    {
        "AIRFLOW_HOME": str(_HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(_HOME / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME / 'airflow.db'}",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "WINDSOCK_HOME": str(_HOME / "windsock"),
    }
)
for _name in ("WINDSOCK_STACK", "WINDSOCK_STACKS_FOLDER", "WINDSOCK_SQL_ALCHEMY_CONN"):
    os.environ.pop(_name, None)

BUNDLE = "windsock-tests"


class DagResult(NamedTuple):
    """What a ``dag.test()`` left: the state of the run, and of each task ``task_id`` or ``task_id[map_index]``."""

    state: str
    tasks: dict[str, str | None]
    xcoms: dict[str, Any]
    run_id: str
    dag_id: str
    labels: dict[str, str | None]


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """The home, with an initialised database (about five seconds, once a session)."""
    from airflow.utils.db import initdb

    initdb()
    return _HOME


@pytest.fixture
def windsock_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Windsock home of this test's own, also for the operators: metadata, artifacts, no stack files."""
    from windsock.hooks.settings import airflow_settings
    from windsock.hooks.stacks import load_server_stack, load_stack

    home = tmp_path / "windsock"
    monkeypatch.setenv("WINDSOCK_HOME", str(home))
    for remembered in (airflow_settings, load_server_stack, load_stack):
        remembered.cache_clear()
    yield home
    for remembered in (airflow_settings, load_server_stack, load_stack):
        remembered.cache_clear()


@pytest.fixture
def run_dag(airflow_home: Path, windsock_home: Path) -> Callable[..., DagResult]:
    """``run_dag(dag, conf={...})``: run a DAG built in the test, in this process, and see what became of it."""

    def run(dag: DAG, conf: dict[str, Any] | None = None, **kwargs: Any) -> DagResult:
        serialize(dag)
        dag_run = dag.test(run_conf=conf, **kwargs)
        return result_of(dag_run.dag_id, dag_run.run_id)

    return run


def serialize(dag: DAG, bundle: str = BUNDLE) -> None:
    """Make a DAG that exists only in this process known to the database, as ``dag.test()`` demands."""
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.serialization.definitions.dag import SerializedDAG
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.session import create_session

    lazy = LazyDeserializedDAG.from_dag(dag)
    with create_session() as session:
        if session.get(DagBundleModel, bundle) is None:
            session.add(DagBundleModel(name=bundle))
            session.flush()
        SerializedDAG.bulk_write_to_db(bundle, None, [lazy], session=session)
        SerializedDagModel.write_dag(lazy, bundle_name=bundle, session=session)


def result_of(dag_id: str, run_id: str) -> DagResult:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    def label(task_id: str, map_index: int) -> str:
        return task_id if map_index < 0 else f"{task_id}[{map_index}]"

    with create_session() as session:
        run = session.scalars(select(DagRun).filter_by(dag_id=dag_id, run_id=run_id)).one()
        instances = session.scalars(select(TaskInstance).filter_by(dag_id=dag_id, run_id=run_id)).all()
        values = session.scalars(select(XComModel).filter_by(dag_id=dag_id, run_id=run_id, key="return_value")).all()
        return DagResult(
            str(run.state),
            {label(ti.task_id, ti.map_index): ti.state and str(ti.state) for ti in instances},
            {label(x.task_id, x.map_index): XComModel.deserialize_value(x) for x in values},
            run_id,
            dag_id,
            {label(ti.task_id, ti.map_index): ti.rendered_map_index for ti in instances},
        )


def serialized(dag: DAG) -> dict[str, Any]:
    """The DAG as the scheduler and the API server see it."""
    from airflow.serialization.serialized_objects import DagSerialization

    return dict(DagSerialization.to_dict(dag))
