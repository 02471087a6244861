"""Each revision of the schema, up and down, with rows in every table: what both schemas have room for is kept."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from metadata_lab import Lab, new_artifact
from sqlalchemy import MetaData, event, inspect, select
from windsock.provider.errors import MetadataError, RecordNotFound, SchemaOutdated
from windsock.provider.metadata import (
    Deployment,
    EdgeIn,
    Metadata,
    NewDriftReport,
    NewModelVersion,
    StepFinish,
    migrate,
    schema,
)
from windsock.provider.metadata.database import Database
from windsock.provider.metadata.engine import engine_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

OLDER = migrate.revisions()[:-1]
Rows = dict[str, list[dict[str, Any]]]


def fill(url: str) -> None:
    """What a run with a model, its deployment and its drift leaves behind, texts that are hard included."""
    metadata = Metadata.open(url)
    lab = Lab(metadata)
    for number in range(3):
        run = f"run {number} 🎏 ä"
        _, data = lab.step("load", run=run, makes={"output": f"rows {number}"})
        start = lab.start("fit", run=run, step_parameters={"text": "ü\n\"'\\ 🎏", "big": 2**53, "none": None})
        made = metadata.runs.finish_step(
            StepFinish(
                start=start,
                state="success",
                inputs=[EdgeIn(name="rows", ref=data["output"].ref())],
                outputs=[new_artifact("churn.model", f"model {number}", "model")],
                metrics={"loss": 0.1, "nan": float("nan")},
            )
        )
        model = metadata.models.register(
            NewModelVersion(
                model="churn",
                artifact=made["model"].ref(),
                baseline=data["output"].ref(),
                step_run=start.key,
                run=start.run_key,
                metrics={"accuracy": 0.9},
            )
        )
        metadata.models.set_alias("churn", "production", model.version, actor="ada", reason="because 'so'")
        metadata.runs.end("churn", run, "success")
    metadata.pipelines.register("churn", digest="d", spec={"steps": ["load", "fit"]}, source_digest="s")
    served = Deployment(name="live", model="churn", version=3, phase="ready", flavor="local", handle={"pid": 7})
    metadata.deployments.put(served, expected_revision=None, actor="bob")
    at = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=timezone.utc)
    report = metadata.drift.record(
        NewDriftReport(model="churn", version=3, window_start=at, rows=9, drifted=True, drift_share=0.25)
    )
    assert metadata.drift.claim(report.id, "retrain", now=at)


def rows(engine: Engine) -> Rows:
    """Every row of every table of ours, by column; as the database gives them."""
    found = MetaData()
    found.reflect(engine, only=lambda name, _: name.startswith("windsock_") and name != schema.VERSION_TABLE)
    with engine.connect() as connection:
        return {
            table.name: sorted((dict(row) for row in connection.execute(select(table)).mappings()), key=repr)
            for table in found.sorted_tables
        }


def common(rows: Rows, other: Rows) -> Rows:
    """The part of ``rows`` that has a place in ``other``'s tables."""
    return {
        table: sorted(
            ({name: value for name, value in row.items() if name in other[table][0]} for row in found), key=repr
        )
        for table, found in rows.items()
        if other.get(table)
    }


def engine_of(url: str) -> Engine:
    return engine_for(Database(url).url)


@pytest.fixture
def filled(empty: str) -> str:
    migrate.upgrade(empty)
    fill(empty)
    return empty


class TestWithData:
    def test_down_and_up_again(self, filled: str) -> None:
        revision = OLDER[0]
        before = rows(engine_of(filled))
        assert migrate.downgrade(filled, revision) == revision
        assert (migrate.check(filled).current, migrate.check(filled).ok) == (revision, False)
        older = rows(engine_of(filled))
        assert [table for table, found in older.items() if not found] == []  # no table goes untested
        assert common(older, before) == common(before, older)
        assert migrate.upgrade(filled) == schema.HEAD
        assert migrate.check(filled).ok
        after = rows(engine_of(filled))
        assert common(after, older) == common(before, older)
        works(filled)

    def test_one_revision_at_a_time(self, filled: str) -> None:
        engine = engine_of(filled)
        built = {revision: structure(engine) for revision in (schema.HEAD,)}
        for revision in reversed(OLDER):
            assert migrate.downgrade(filled, revision) == revision
            built[revision] = structure(engine)
        for revision in OLDER[1:]:
            assert migrate.upgrade(filled, revision) == revision
            assert structure(engine) == built[revision], revision
        assert migrate.upgrade(filled) == schema.HEAD
        assert structure(engine) == built[schema.HEAD]
        works(filled)

    def test_down_to_nothing(self, filled: str) -> None:
        assert migrate.downgrade(filled, "base") is None
        assert migrate.check(filled).current is None
        assert rows(engine_of(filled)) == {}


class TestRefused:
    def test_an_older_schema(self, filled: str) -> None:
        migrate.downgrade(filled, OLDER[-1])
        with pytest.raises(SchemaOutdated, match="windsock db upgrade"):
            reopened(filled)

    def test_a_revision_nobody_knows(self, empty: str) -> None:
        for change in (migrate.upgrade, migrate.downgrade):
            with pytest.raises(RecordNotFound, match=r"'0o1'.*\n.*base, 0001,"):
                change(empty, "0o1")

    def test_a_database_of_a_newer_windsock_is_left_alone(self, filled: str) -> None:
        with engine_of(filled).connect() as connection:
            connection.execution_options(windsock_write=True)
            with connection.begin():
                connection.exec_driver_sql(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
        for change in (lambda: migrate.upgrade(filled), lambda: migrate.downgrade(filled, "0001")):
            with pytest.raises(SchemaOutdated, match="newer than"):
                change()

    def test_a_downgrade_to_a_later_revision_changes_nothing(self, empty: str) -> None:
        migrate.upgrade(empty, "0001")
        assert migrate.downgrade(empty, schema.HEAD) == "0001"


class TestInterrupted:
    """MySQL commits each change of the schema: what was cut off anywhere is finished by the next call."""

    @pytest.mark.parametrize("part", [0.02, 0.6])
    def test_an_upgrade_of_an_empty_database(self, mariadb_database: Callable[[], str], part: float) -> None:
        whole = mariadb_database()
        count = changes(lambda: migrate.upgrade(whole), whole)
        url = mariadb_database()
        with cut_off(url, after=max(1, int(count * part))), pytest.raises(MetadataError, match="cut off"):
            migrate.upgrade(url)
        assert not migrate.check(url).ok
        assert migrate.upgrade(url) == schema.HEAD
        assert structure(engine_of(url)) == structure(engine_of(whole))
        fill(url)
        works(url)

    def test_anywhere_on_the_way_down_and_up_with_data(self, mariadb_database: Callable[[], str]) -> None:
        url = mariadb_database()
        migrate.upgrade(url)
        fill(url)
        before, built = rows(engine_of(url)), structure(engine_of(url))
        down = changes(lambda: migrate.downgrade(url, "0001"), url)
        older = rows(engine_of(url))
        up = changes(lambda: migrate.upgrade(url), url)
        most = max(down, up)
        for after in range(1, most, most // 6):
            with cut_off(url, after=after):
                failing(lambda: migrate.downgrade(url, "0001"))
            assert migrate.downgrade(url, "0001") == "0001"
            assert common(rows(engine_of(url)), older) == older
            with cut_off(url, after=after):
                failing(lambda: migrate.upgrade(url))
            assert migrate.upgrade(url) == schema.HEAD
        assert structure(engine_of(url)) == built
        assert common(rows(engine_of(url)), older) == common(before, older)
        works(url)


def reopened(url: str) -> Metadata:
    """As another process opens it: what this one knows about its schema is forgotten."""
    from windsock.provider.metadata import state

    state._checked.discard(Database(url).url)
    return Metadata.open(url)


def works(url: str) -> None:
    """The audit chain holds, a model can be found and the next one registered."""
    metadata = reopened(url)
    metadata.audit.verify()
    found = metadata.models.get("churn", alias="production")
    number = Lab(metadata).model("churn").version
    assert number == found.version + 1
    metadata.models.set_alias("churn", "production", number, expected=found.version, actor="me")
    assert [e.to_version for e in metadata.models.since("churn")] == [1, 2, 3, 4]
    metadata.audit.verify()


def structure(engine: Engine) -> dict[str, object]:
    """Columns, keys and indexes of all our tables."""
    found = inspect(engine)
    return {
        table: [
            [(c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(table)],
            found.get_pk_constraint(table)["constrained_columns"],
            *(
                sorted((str(item["name"]), str(_spelled(item))) for item in read(table))
                for read in (found.get_unique_constraints, found.get_foreign_keys, found.get_indexes)
            ),
        ]
        for table in found.get_table_names()
        if table.startswith("windsock_") and table != schema.VERSION_TABLE
    }


def _spelled(value: Any) -> Any:
    """As text; the condition of an index is an object that equals nothing."""
    return {key: _spelled(each) for key, each in value.items()} if isinstance(value, dict) else str(value)


def changes(run: Callable[[], object], url: str) -> int:
    """How many statements change something while ``run`` runs."""
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, sql: str, *_rest: Any) -> None:
        if _changes(sql):
            seen.append(sql)

    engine = engine_of(url)
    event.listen(engine, "before_cursor_execute", note)
    run()
    event.remove(engine, "before_cursor_execute", note)
    return len(seen)


class cut_off:
    """The process that changes the schema dies before its change number ``after + 1``."""

    def __init__(self, url: str, *, after: int) -> None:
        self._engine = engine_of(url)
        self._left = after

    def __enter__(self) -> None:
        event.listen(self._engine, "before_cursor_execute", self._count)

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._count)

    def _count(self, _c: Any, _cursor: Any, sql: str, *_rest: Any) -> None:
        if _changes(sql):
            self._left -= 1
            if self._left < 0:
                raise MetadataError("cut off")


def _changes(sql: str) -> bool:
    return sql.lstrip().split()[0].upper() in {"CREATE", "ALTER", "DROP", "INSERT", "UPDATE", "DELETE", "RENAME"}


def failing(run: Callable[[], object]) -> None:
    """Where it was cut off may lie behind its end."""
    try:
        run()
    except MetadataError as error:
        assert "cut off" in str(error)  # noqa: PT017 - and no other
