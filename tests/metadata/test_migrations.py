from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
import racers
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from windsock.provider.errors import MetadataUnavailable, SchemaOutdated, SettingInvalid
from windsock.provider.metadata import Metadata, migrate, schema
from windsock.provider.metadata.database import Database
from windsock.provider.metadata.engine import engine_for


def structure(url: str) -> dict[str, object]:
    """Everything the database says about our tables, in an order of its own."""
    found = inspect(engine_for(Database(url).url))
    return {
        table: {
            "columns": [(c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(table)],
            "primary": found.get_pk_constraint(table),
            "unique": sorted(found.get_unique_constraints(table), key=lambda c: str(c["name"])),
            "foreign": sorted(found.get_foreign_keys(table), key=lambda c: str(c["name"])),
            "checks": sorted(found.get_check_constraints(table), key=lambda c: str(c["name"])),
            "indexes": sorted((_spelled(c) for c in found.get_indexes(table)), key=lambda c: str(c["name"])),
        }
        for table in found.get_table_names()
        if table.startswith("windsock_")
    }


def _spelled(index: Any) -> dict[str, Any]:
    """SQLite's reflection gives the condition of an index as an object that equals nothing."""
    return {**index, "dialect_options": {name: str(value) for name, value in index.get("dialect_options", {}).items()}}


class TestModelsAndMigrationsAgree:
    def test_alembic_finds_no_difference(self, empty: str) -> None:
        migrate.upgrade(empty)
        with engine_for(Database(empty).url).connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"version_table": schema.VERSION_TABLE, "compare_type": True}
            )
            assert compare_metadata(context, schema.metadata) == []

    def test_the_database_made_at_once_is_the_one_migrated(self, empty: str, tmp_path: Path) -> None:
        migrate.upgrade(empty)
        if empty.startswith("sqlite"):
            other = f"sqlite:///{tmp_path / 'other.db'}"
            Metadata.open(other)
            files = [url.removeprefix("sqlite:///") for url in (empty, other)]
            # Word for word, WITHOUT ROWID and AUTOINCREMENT included, which reflection does not show.
            first, second = (_statements(Path(file)) for file in files)
            assert first.pop(schema.VERSION_TABLE)
            assert second.pop(schema.VERSION_TABLE)
            assert first == second
            assert any("WITHOUT ROWID" in sql for sql in first.values())
        else:
            migrated = structure(empty)
            migrate.downgrade(empty, "base")
            with engine_for(Database(empty).url).begin() as connection:
                schema.metadata.create_all(connection)
            made = structure(empty)
            made.pop(schema.VERSION_TABLE, None)
            migrated.pop(schema.VERSION_TABLE)
            assert made == migrated
            assert len(made) == len(schema.metadata.tables)

    def test_down_to_nothing_and_up_again(self, empty: str) -> None:
        assert migrate.upgrade(empty) == schema.HEAD
        before = structure(empty)
        assert migrate.downgrade(empty, "base") is None
        assert set(structure(empty)) <= {schema.VERSION_TABLE}
        assert migrate.upgrade(empty) == schema.HEAD
        assert structure(empty) == before

    def test_the_code_works_with_the_last_revision(self) -> None:
        scripts = ScriptDirectory(str(migrate.MIGRATIONS), version_locations=[str(migrate.MIGRATIONS / "versions")])
        assert scripts.get_current_head() == schema.HEAD


class TestUpgrade:
    def test_keeps_what_is_there(self, empty: str) -> None:
        migrate.upgrade(empty)
        metadata = Metadata.open(empty)
        metadata.audit.append("me", "try", "model", "churn", None, {"version": 1}, "because")
        assert migrate.upgrade(empty) == schema.HEAD
        assert metadata.audit.list()[0].reason == "because"

    def test_leaves_other_tables_alone(self, empty: str) -> None:
        engine = engine_for(Database(empty).url)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE dag (dag_id VARCHAR(250) PRIMARY KEY)"))
            connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        migrate.upgrade(empty)
        migrate.downgrade(empty, "base")
        assert {"dag", "alembic_version"} <= set(inspect(engine).get_table_names())

    def test_several_at_once(self, empty: str) -> None:
        Database(empty).close()
        assert racers.at_once(migrate.upgrade, [(empty,)] * 3) == [schema.HEAD] * 3


class TestOpen:
    def test_a_missing_file_becomes_a_database_in_wal_mode(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "windsock.db"
        Metadata.open(f"sqlite:///{path}")
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert connection.execute(f"SELECT version_num FROM {schema.VERSION_TABLE}").fetchall() == [(schema.HEAD,)]

    def test_an_empty_file_does_too(self, tmp_path: Path) -> None:
        path = tmp_path / "windsock.db"
        path.touch()
        assert Metadata.open(f"sqlite:///{path}").models.list().items == ()

    def test_a_file_that_was_removed_is_made_again(self, tmp_path: Path) -> None:
        path = tmp_path / "windsock.db"
        url = f"sqlite:///{path}"
        Metadata.open(url).audit.append("me", "try", "model", "churn")
        for file in tmp_path.iterdir():
            file.unlink()
        assert Metadata.open(url).audit.list().items == ()

    def test_many_processes_make_it_once(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path / 'windsock.db'}"
        assert racers.at_once(racers.open_and_write, [(url,)] * 6) == [True] * 6
        assert len(Metadata.open(url).audit.list()) == 6

    def test_somebody_elses_file_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "airflow.db"
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE dag (dag_id TEXT)")
        with pytest.raises(SchemaOutdated, match=r"no Windsock tables yet\.\n.*windsock db upgrade"):
            Metadata.open(f"sqlite:///{path}")
        with sqlite3.connect(path) as connection:
            assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)

    @pytest.mark.parametrize("server", ["postgres_database", "mariadb_database"])
    def test_an_empty_server_asks_for_an_upgrade(self, request: pytest.FixtureRequest, server: str) -> None:
        url = request.getfixturevalue(server)()
        with pytest.raises(SchemaOutdated, match="windsock db upgrade") as caught:
            Metadata.open(url)
        assert caught.value.current is None
        assert not migrate.check(url).ok
        migrate.upgrade(url)
        assert migrate.check(url).ok
        assert Metadata.open(url).models.list().items == ()

    @pytest.mark.parametrize(("found", "says"), [("0000", "windsock db upgrade"), ("9999", "newer than the")])
    def test_another_schema_is_refused(self, empty: str, found: str, says: str) -> None:
        migrate.upgrade(empty)
        with engine_for(Database(empty).url).connect() as connection:
            connection.execution_options(windsock_write=True)
            with connection.begin():
                connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '{found}'"))
        with pytest.raises(SchemaOutdated, match=says):
            Metadata.open(empty)

    def test_check_does_not_make_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "windsock.db"
        assert migrate.check(f"sqlite:///{path}").current is None
        assert not path.exists()


class TestUnreachable:
    def test_a_server_that_is_down_is_named_without_its_password(self) -> None:
        with pytest.raises(MetadataUnavailable, match=r"127\.0\.0\.1:1/db.* does not answer") as caught:
            Metadata.open("postgresql://me:hunter2@127.0.0.1:1/db?password=hunter3")
        assert "hunter" not in str(caught.value)
        assert "hunter" not in str(caught.value.facts)

    def test_no_url(self) -> None:
        with pytest.raises(SettingInvalid) as caught:
            Metadata.open("me:hunter2@server")
        assert "hunter2" not in str(caught.value)

    def test_memory_is_refused(self) -> None:
        with pytest.raises(SettingInvalid, match="in memory"):
            Metadata.open("sqlite://")

    def test_another_kind_is_refused(self) -> None:
        with pytest.raises(SettingInvalid, match="oracle"):
            Metadata.open("oracle://me@server/db")

    def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("dear diary, " * 100)
        with pytest.raises(MetadataUnavailable, match="not a database"):
            Metadata.open(f"sqlite:///{path}")

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(MetadataUnavailable, match="cannot be made"):
            Metadata.open(f"sqlite:///{tmp_path / 'file' / 'windsock.db'}")


def _statements(path: Path) -> dict[str, str]:
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE name LIKE 'windsock%' AND sql IS NOT NULL")
        return {name: _normal(sql) for name, sql in rows} | {
            name: _normal(sql)
            for name, sql in connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index'")
            if sql is not None
        }


def _normal(sql: str) -> str:
    """Alembic and SQLAlchemy order the constraints of a table differently."""
    lines = [line.strip().rstrip(",").strip() for line in sql.splitlines()]
    return "\n".join(sorted(line for line in lines if line))
