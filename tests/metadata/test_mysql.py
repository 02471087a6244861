"""What is particular to MySQL and MariaDB, on a MariaDB whose defaults are all wrong (see ``servers.py``)."""

from __future__ import annotations

import math
import threading
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from metadata_lab import Lab, digest, new_artifact
from proxy import Proxy, Stall
from sqlalchemy import event, insert, make_url
from windsock.provider.errors import Conflict, MetadataError, MetadataUnavailable, MissingExtra, SchemaOutdated
from windsock.provider.metadata import (
    Metadata,
    MetricPoint,
    NewDriftReport,
    NewModelVersion,
    StepFinish,
    migrate,
    schema,
)
from windsock.provider.metadata.component import connection_url
from windsock.provider.metadata.database import Database
from windsock.provider.metadata.engine import engine_for, parse_url
from windsock.provider.security.credentials import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine


@pytest.fixture
def url(empty_mariadb: str) -> str:
    return empty_mariadb


@pytest.fixture
def engine(metadata: Metadata) -> Engine:
    return engine_for(metadata.database.url)


class TestWhatIsKept:
    def test_names_that_differ_in_case_or_accent(self, metadata: Metadata, lab: Lab) -> None:
        for name in ("churn", "Churn", "CHURN"):
            assert lab.model(name, content="same").version == 1
        assert [m.name for m in metadata.models.list()] == ["CHURN", "Churn", "churn"]  # as bytes sort, as elsewhere
        lab.start(run="a", dag_id="d")
        lab.start(run="ä", dag_id="d")
        lab.start(run="A", dag_id="d")
        assert {r.run_id for r in metadata.runs.list(dag_id="d")} == {"a", "ä", "A"}
        assert metadata.runs.list(dag_id="D").items == ()

    def test_every_character(self, metadata: Metadata, lab: Lab) -> None:
        text = "🎏 é 漢 ' \" \\ % %s \n \x1a"
        start = lab.start(step_parameters={text: text})
        metadata.runs.finish_step(StepFinish(start=start, state="failed", error=text))
        step = metadata.runs.step(start.key)
        assert (step.parameters, step.error) == ({text: text}, text)

    def test_texts_longer_than_64_kib(self, metadata: Metadata, lab: Lab) -> None:
        start = lab.start(step_parameters={"big": "x" * 300_000})
        metadata.runs.finish_step(StepFinish(start=start, state="failed", error="ä" * 300_000))
        step = metadata.runs.step(start.key)
        assert (len(step.parameters["big"]), len(str(step.error))) == (300_000, 300_000)

    def test_a_name_too_long_is_refused_and_not_cut(self, metadata: Metadata, lab: Lab) -> None:
        with pytest.raises(MetadataError, match="Data too long for column 'worker'"):
            lab.start(worker="w" * 251)
        assert metadata.runs.list().items == ()

    def test_microseconds_of_any_zone_and_year(self, metadata: Metadata, lab: Lab) -> None:
        start = lab.start()
        times = [datetime(year, 7, 1, 23, 59, 59, 999_999, tzinfo=timezone.utc) for year in (1969, 2026, 2039, 9999)]
        points = [MetricPoint(key="x", value=1.0, at=at) for at in times]
        metadata.runs.finish_step(StepFinish(start=start, state="success", metrics=points))
        assert [p.at for p in metadata.runs.metrics(start.key)] == times

    def test_floats_to_the_last_bit(self, metadata: Metadata, lab: Lab) -> None:
        values = [0.1, 1 / 3, 5e-324, 1.7976931348623155e308, -0.0, 123456789.123456789, math.inf, -math.inf]
        start = lab.start()
        points = [MetricPoint(key="x", value=value) for value in [*values, math.nan]]
        metadata.runs.finish_step(StepFinish(start=start, state="success", metrics=points))
        *found, nan = [p.value for p in metadata.runs.metrics(start.key)]
        assert found == values
        assert math.isnan(nan)

    def test_integers_beyond_64_bits_in_json(self, metadata: Metadata, lab: Lab) -> None:
        start = lab.start(step_parameters={"n": 2**70, "m": -(2**63)})
        assert metadata.runs.step(start.key).parameters == {"n": 2**70, "m": -(2**63)}

    def test_the_longest_names_in_every_key(self, metadata: Metadata, lab: Lab) -> None:
        """Four bytes a character: what a key holds at most."""
        name, task = "n" * 200, "🎏" * 250
        artifact = metadata.artifacts.record(new_artifact(name))
        start = lab.start(name, dag_id="🎏" * 250, run="🎏" * 250, task_id=task, pipeline=name)
        made = metadata.runs.finish_step(
            StepFinish(start=start, state="success", outputs=[new_artifact(name, output=name)])
        )
        assert metadata.runs.outputs(start.key) == made
        for source in ("🎏" * 500, "🎏" * 499 + "x"):
            new = NewModelVersion(model=name, artifact=artifact.ref(), source=source)
            model = metadata.models.register(new)
        assert model.version == 2
        assert artifact.version == 1


class TestTables:
    def test_are_as_promised(self, engine: Engine) -> None:
        with engine.connect() as connection:
            sql = (
                "SELECT table_name, engine, table_collation FROM information_schema.tables "
                "WHERE table_schema = DATABASE() AND table_name LIKE 'windsock%%'"
            )
            found = connection.exec_driver_sql(sql).all()
            assert {row[1:] for row in found} == {("InnoDB", "utf8mb4_bin")}
            assert len(found) == len(schema.metadata.tables) + 1
            sql = (
                "SELECT table_name, column_name, collation_name FROM information_schema.columns WHERE table_schema = "
                "DATABASE() AND collation_name <> 'utf8mb4_bin'"
            )
            assert connection.exec_driver_sql(sql).all() == []

    def test_a_session_depends_on_no_default(self, engine: Engine) -> None:
        with engine.connect() as connection:
            sql = "SELECT @@autocommit, @@tx_isolation, @@sql_mode, @@character_set_connection, @@collation_connection"
            autocommit, isolation, mode, charset, collation = connection.exec_driver_sql(sql).one()
        assert (autocommit, isolation, charset, collation) == (1, "READ-COMMITTED", "utf8mb4", "utf8mb4_bin")
        assert "STRICT_ALL_TABLES" in mode


class TestCounts:
    """A compare-and-set is told by how many rows it met."""

    def test_an_insert_that_keeps_makes_or_changes(self, metadata: Metadata) -> None:
        from windsock.provider.metadata.mysql import insert as upsert

        table = schema.drift_consumer
        keep = upsert(table).on_conflict_do_nothing()
        change = (statement := upsert(table)).on_conflict_do_update(
            index_elements=[table.c.name],
            set_={"claimed_at": statement.excluded["claimed_at"]},
            where=table.c.claimed_at.is_(None),
        )
        noon = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
        with metadata.transaction() as connection:
            counting = connection.execution_options(preserve_rowcount=True)
            counts = [
                counting.execute(statement, {"name": "a", "claimed_at": at}).rowcount
                for statement, at in [(keep, None), (keep, noon), (change, noon), (change, None)]
            ]
        assert counts == [1, 0, 2, 0]
        assert metadata.drift.claimable(1, "a")

    def test_a_condition_on_two_columns_that_it_changes_is_refused(self) -> None:
        from windsock.provider.metadata.mysql import insert as upsert

        table = schema.run
        with pytest.raises(NotImplementedError, match=r"ended_at.*state"):
            upsert(table).on_conflict_do_update(
                index_elements=[table.c.id],
                set_={"state": "x", "ended_at": None},
                where=(table.c.state == "running") & table.c.ended_at.is_(None),
            )

    def test_any_other_error_than_a_duplicate_stays_one(self, metadata: Metadata) -> None:
        from windsock.provider.metadata.mysql import insert as upsert

        keep = upsert(schema.edge).on_conflict_do_nothing()
        row = {"step_run": "0" * 32, "direction": "in", "name": "x", "artifact_version": 1}
        with pytest.raises(MetadataError, match="refuses the record"), metadata.transaction() as connection:
            connection.execute(keep, row)


@pytest.fixture
def without_returning(engine: Engine) -> Iterator[None]:
    """MySQL 8 has no ``INSERT … RETURNING``."""
    engine.dialect.insert_returning = False  # type: ignore[misc]
    engine.clear_compiled_cache()
    yield
    engine.dialect.insert_returning = True  # type: ignore[misc]
    engine.clear_compiled_cache()


class TestAsMySql:
    def test_new_versions_without_returning(
        self, metadata: Metadata, lab: Lab, engine: Engine, without_returning: None
    ) -> None:
        sent: list[str] = []
        event.listen(engine, "before_cursor_execute", lambda _c, _k, sql, *_: sent.append(sql))
        start = lab.start()
        outputs = [new_artifact(f"churn.{name}", output=name) for name in ("b", "a", "c")]
        made = metadata.runs.finish_step(StepFinish(start=start, state="success", outputs=outputs))
        assert {v.artifact for v in made.values()} == {"churn.a", "churn.b", "churn.c"}
        assert metadata.runs.outputs(start.key) == made
        report = metadata.drift.record(NewDriftReport(model="m", version=1, rows=1, drifted=True, drift_share=1.0))
        assert metadata.drift.get(report.id) == report
        assert not any("RETURNING" in sql for sql in sent)


class TestCollisions:
    def test_a_deadlock_is_repeated(self, metadata: Metadata, engine: Engine) -> None:
        """Two transactions that lock two rows in opposite order: the server ends one, which runs again."""
        for name in ("a", "b"):
            metadata.artifacts.record(new_artifact(name, content=name))
        both, runs = threading.Barrier(2), {"ab": 0, "ba": 0}

        def work(order: str) -> Callable[[Any], None]:
            def lock(connection: Any) -> None:
                runs[order] += 1
                for name in order:
                    connection.exec_driver_sql(f"SELECT name FROM windsock_artifact WHERE name = '{name}' FOR UPDATE")
                    if runs[order] == 1 and name == order[0]:
                        both.wait(20)

            return lock

        errors: list[Exception] = []

        def go(order: str) -> None:
            try:
                metadata.database.write(work(order))
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=go, args=(order,)) for order in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert errors == []
        assert sorted(runs.values()) == [1, 2]

    def test_a_lock_that_is_held_too_long_is_a_conflict_that_is_repeated(self, metadata: Metadata) -> None:
        metadata.artifacts.record(new_artifact("a"))
        lock = "SELECT name FROM windsock_artifact WHERE name = 'a' FOR UPDATE"
        attempts = []

        def wait(connection: Any) -> None:
            attempts.append(1)
            connection.exec_driver_sql("SET innodb_lock_wait_timeout = 1")
            if len(attempts) == 2:
                held.set()
            connection.exec_driver_sql(lock)

        held, taken = threading.Event(), threading.Event()

        def hold() -> None:
            with metadata.transaction() as connection:
                connection.exec_driver_sql(lock)
                taken.set()
                held.wait(20)

        holder = threading.Thread(target=hold)
        holder.start()
        assert taken.wait(20)
        metadata.database.write(wait)
        holder.join(20)
        assert len(attempts) == 2

    def test_a_duplicate_is_a_conflict_that_does_not_show_its_values(self, metadata: Metadata) -> None:
        row = {"name": "hunter2", "created_at": datetime.now(timezone.utc)}

        def twice() -> None:
            with metadata.transaction() as connection:
                connection.execute(insert(schema.artifact), row)
                connection.execute(insert(schema.artifact), row)

        with pytest.raises(Conflict, match="Duplicate entry for key") as caught:
            twice()
        assert "hunter2" not in str(caught.value)
        assert metadata.artifacts.names().items == ()

    def test_looking_takes_no_lock_and_begins_nothing(self, metadata: Metadata, lab: Lab, engine: Engine) -> None:
        lab.model()
        with engine.connect() as other, other.begin():
            other.exec_driver_sql("BEGIN")
            other.exec_driver_sql("SELECT name FROM windsock_model FOR UPDATE")
            assert metadata.models.get("churn").version == 1
            other.exec_driver_sql("ROLLBACK")


class TestConnections:
    def test_that_the_server_closed_are_made_again(self, metadata: Metadata, lab: Lab, engine: Engine) -> None:
        lab.start()
        for act in (metadata.runs.list, lambda: lab.start(run="again")):
            with engine.connect() as connection:
                number = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar()
            killer = Database(metadata.database.url).url
            with engine_for(killer.set(query={"connect_timeout": "5"})).connect() as other:
                other.exec_driver_sql(f"KILL {number}")
            act()
        assert len(metadata.runs.list()) == 2

    def test_that_get_no_answer_are_given_up(self, metadata: Metadata, lab: Lab, mariadb_server: str) -> None:
        """The proxy keeps the connection open and says nothing, as a server does whose disk hangs."""
        lab.start()
        given = metadata.database.url
        with Proxy("127.0.0.1", int(given.port or 0)) as proxy:
            url = given.set(port=proxy.port, query={"read_timeout": "1"}).render_as_string(hide_password=False)
            frozen = Metadata.open(url)
            silence = proxy.rule = Stall()
            with pytest.raises(MetadataUnavailable, match="timed out"):
                frozen.runs.list()
            with pytest.raises(MetadataUnavailable, match=r"timed out|does not answer"):
                Lab(frozen).start(run="again")
            silence.over.set()
            frozen.close()
        assert [run.run_id for run in metadata.runs.list()] == ["r1"]

    def test_changes_of_the_schema_may_take_long(self, metadata: Metadata) -> None:
        from windsock.provider.metadata.mysql import unhurried

        url = metadata.database.url.set(query={"read_timeout": "1"})
        with engine_for(url).connect() as connection, unhurried(connection):
            assert connection.exec_driver_sql("SELECT SLEEP(1.2)").scalar() == 0

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"port": 1}, "does not answer: Can't connect"),
            ({"password": "wrong"}, "does not answer: Access denied"),
            ({"database": "nowhere"}, "does not answer: Unknown database"),
        ],
    )
    def test_that_cannot_be_made_are_named_without_the_password(
        self, mariadb_url: str, change: dict[str, Any], says: str
    ) -> None:
        text = make_url(mariadb_url).set(**change).render_as_string(hide_password=False)
        with pytest.raises(MetadataUnavailable, match=says) as caught:
            Metadata.open(text)
        assert "wind:" not in str(caught.value).replace("windsock:", "")

    def test_a_database_without_tables(self, mariadb_database: Callable[[], str]) -> None:
        with pytest.raises(SchemaOutdated, match="windsock db upgrade"):
            Metadata.open(mariadb_database())

    @pytest.mark.parametrize(
        "text", ["mysql://u:p@h/d", "mariadb://u:p@h/d", "mysql+mysqldb://u:p@h/d", "mariadb+pymysql://u:p@h/d"]
    )
    def test_every_name_of_it_is_one_driver(self, text: str) -> None:
        assert parse_url(text).drivername == "mysql+pymysql"

    def test_without_the_driver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import sys

        monkeypatch.setitem(sys.modules, "pymysql", None)
        with pytest.raises(MissingExtra, match=r"airflow-provider-windsock\[mysql\]"):
            Metadata.open("mysql://u:p@127.0.0.1:1/none")

    def test_an_airflow_connection(self, mariadb_url: str) -> None:
        given = make_url(mariadb_url)
        connection = Connection(
            conn_id="ml",
            conn_type="mysql",
            host=given.host,
            port=given.port,
            login=given.username,
            password=given.password,
            schema=given.database,
            extra={"charset": "latin1", "ssl": {"ca": "/ca.pem"}, "connect_timeout": 3},
        )
        url = make_url(connection_url(connection))
        assert url.set(query={}) == given.set(drivername="mysql+pymysql")
        assert url.query == {"ssl_ca": "/ca.pem", "connect_timeout": "3"}


class TestSchemaLock:
    def test_a_second_upgrade_waits_its_turn_and_says_so(
        self, metadata: Metadata, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = metadata.database.url.render_as_string(hide_password=False)
        monkeypatch.setattr(migrate, "_PATIENCE_S", 1)
        with engine.connect() as holder:
            holder.exec_driver_sql(f"SELECT GET_LOCK({migrate._LOCK}, 0)")
            with pytest.raises(MetadataUnavailable, match="Another process has been changing the schema"):
                migrate.upgrade(url)
            holder.exec_driver_sql("SELECT RELEASE_ALL_LOCKS()")
        assert migrate.upgrade(url) == schema.HEAD

    def test_an_index_that_a_foreign_key_needs_can_go(self, metadata: Metadata, engine: Engine) -> None:
        """A revision that goes back may drop it: the key gets an index of its own, as it had before."""
        from alembic.migration import MigrationContext
        from alembic.operations import Operations
        from sqlalchemy import inspect
        from windsock.provider.metadata.migrate_mysql import Restartable

        with engine.connect() as connection:
            context = MigrationContext.configure(connection)
            context.impl = Restartable.of(context.impl)
            operations = Operations(context)
            name, table = "ix_windsock_edge_artifact_version", "windsock_edge"
            operations.drop_index(name, table_name=table)
            names = {index["name"] for index in inspect(connection).get_indexes(table)}
            assert "fk_windsock_edge_artifact_version" in names
            assert name not in names
            operations.create_index(name, table, ["artifact_version", "direction", "step_run"])
            names = {index["name"] for index in inspect(connection).get_indexes(table)}
            assert name in names
            assert "fk_windsock_edge_artifact_version" not in names


def test_what_is_equal(metadata: Metadata) -> None:
    """Upserts and look-ups agree: text that differs by case is not the same."""
    first = metadata.artifacts.record(new_artifact("a", content="x"))
    again = metadata.artifacts.record(new_artifact("a", content="x"))
    upper = metadata.artifacts.record(new_artifact("a", content="x").model_copy(update={"digest": digest("x").upper()}))
    assert (first.version, again.version, upper.version) == (1, 1, 2)


class TestLineage:
    def test_many_things_that_came_of_one_do_not_stop_it(self, metadata: Metadata, lab: Lab, engine: Engine) -> None:
        """MySQL finishes a recursion before it looks at LIMIT, so none is asked for: each level ends by itself."""
        _, made = lab.step("load", makes={"output": "x"})
        for i in range(30):
            _, next_ = lab.step("score", map_index=i, reads={"x": made["output"]}, makes={"output": i})
            lab.step("report", map_index=i, reads={"x": next_["output"]}, makes={"output": f"r{i}"})
        sent: list[str] = []
        event.listen(engine, "before_cursor_execute", lambda _c, _k, sql, *_: sent.append(sql))
        graph = metadata.lineage.graph("artifact:churn.load@1", direction="down", limit=20)
        assert graph.truncated
        assert not any("RECURSIVE" in sql for sql in sent)
        whole = metadata.lineage.graph("artifact:churn.load@1", direction="down")
        assert (len(whole.nodes), whole.truncated) == (121, False)
        near = metadata.lineage.graph("artifact:churn.load@1", direction="down", depth=1)
        assert len(near.nodes) == 61
