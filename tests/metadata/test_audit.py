"""The audit trail: a chain that breaks where somebody touched it, on both databases, under any load."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import racers
from sqlalchemy import text
from windsock.provider.errors import AuditBroken
from windsock.provider.metadata import Metadata, migrate, schema
from windsock.provider.metadata.audit_chain import GENESIS, Chain, Head
from windsock.provider.metadata.database import Database
from windsock.provider.metadata.engine import engine_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from metadata_lab import Lab

_T = schema.audit_event


def write(metadata: Metadata, count: int) -> None:
    for i in range(count):
        metadata.audit.append(
            f"user:{i % 3}", "promote", "model", "churn", {"version": i}, {"version": i + 1}, "better"
        )


def by_hand(metadata: Metadata, sql: str, **values: Any) -> None:
    """What somebody with the database's password does."""
    with metadata.transaction() as connection:
        connection.execute(text(sql), values)


class TestChain:
    def test_every_event_holds_the_hash_of_the_one_before(self, metadata: Metadata) -> None:
        write(metadata, 5)
        events = list(metadata.audit.events())
        assert [event["previous"] for event in events] == [GENESIS, *(event["hash"] for event in events[:-1])]
        assert metadata.audit.verify() == metadata.audit.head() == Head(5, events[-1]["hash"])

    def test_the_hash_is_what_the_documentation_says(self, metadata: Metadata) -> None:
        metadata.audit.append("user:ann", "note", "model", "churn", {"b": 1, "a": [0.5, 2.0]}, None, "ä")
        (event,) = metadata.audit.events()
        at = event["at"].isoformat(timespec="microseconds")
        written = (
            f'{{"action":"note","actor":"user:ann","after":null,"at":"{at}","before":{{"a":[0.5,2],"b":1}},'
            '"reason":"ä","subject":"churn","subject_kind":"model"}'
        )
        assert event["hash"] == sha256(f"{GENESIS}\n{written}".encode()).hexdigest()

    def test_values_that_databases_write_in_their_own_way(self, metadata: Metadata) -> None:
        odd = {
            "whole": 1.0,
            "huge": 1e22,
            "beyond": 2**70,
            "tiny": 1e-300,
            "third": 1 / 3,
            "negative zero": -0.0,
            "nothing": float("nan"),
            "numpy": np.float32(0.1),
            "when": datetime(2026, 1, 1, tzinfo=timezone.utc),
            "nul": "a\0b",
            "nested": {"z": [1, {"y": 2.50}], "ü": True},
        }
        metadata.audit.append("me", "note", "model", "churn", odd, {"same": odd}, "odd \0 reason")
        metadata.audit.append("me", "note", "model", "churn", {})
        assert metadata.audit.verify().events == 2

    def test_a_change_that_is_rolled_back_leaves_no_event_and_no_gap(self, metadata: Metadata) -> None:
        write(metadata, 2)

        def changes_and_fails() -> None:
            with metadata.transaction():
                write(metadata, 3)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            changes_and_fails()
        write(metadata, 1)
        assert metadata.audit.verify().events == 3

    def test_processes_at_once_write_one_chain(self, url: str, metadata: Metadata, lab: Lab) -> None:
        lab.model()
        lab.model()
        racers.at_once(racers.promote, [(url, who, 30) for who in ("a", "b", "c")])
        assert metadata.audit.verify().events == 2 + 90
        assert metadata.audit.head() == metadata.audit.verify()

    def test_no_statement_changes_or_deletes_an_event(self) -> None:
        from windsock.provider.metadata.audit import Audit

        assert {name for name in vars(Audit) if not name.startswith("_")} == {
            "append", "events", "head", "list", "search", "verify",
        }  # fmt: skip

    def test_lists_of_one_subject(self, metadata: Metadata) -> None:
        write(metadata, 3)
        metadata.audit.append("me", "create", "deployment", "churn")
        assert [e.action for e in metadata.audit.list(subject_kind="deployment", subject="churn")] == ["create"]
        assert len(metadata.audit.list(subject_kind="model")) == 3
        assert len(metadata.audit.list(subject_kind="model", subject="other")) == 0


class TestTampering:
    @pytest.mark.parametrize(
        ("sql", "number", "says"),
        [
            ("UPDATE windsock_audit_event SET actor = 'user:mallory' WHERE id = :id", 4, "was changed"),
            ("UPDATE windsock_audit_event SET reason = NULL WHERE id = :id", 4, "was changed"),
            ("UPDATE windsock_audit_event SET previous = hash WHERE id = :id", 4, "was changed"),
            ("DELETE FROM windsock_audit_event WHERE id = :id", 4, "removed, inserted or moved"),
            ("DELETE FROM windsock_audit_event WHERE id < :id", 1, "removed, inserted or moved"),
            ("DELETE FROM windsock_audit_event WHERE id > :id", 5, "at its end are missing"),
            ("DELETE FROM windsock_audit_event", 1, "at its end are missing"),
        ],
        ids=["edited", "cleared", "relinked", "removed", "beginning cut", "end cut", "emptied"],
    )
    def test_the_first_event_that_is_wrong_is_named(self, metadata: Metadata, sql: str, number: int, says: str) -> None:
        write(metadata, 8)
        chosen = list(metadata.audit.events())[3]["id"]
        by_hand(metadata, sql, **({"id": chosen} if ":id" in sql else {}))
        with pytest.raises(AuditBroken, match=says) as caught:
            metadata.audit.verify()
        assert caught.value.number == number

    def test_json_that_was_edited(self, metadata: Metadata) -> None:
        write(metadata, 3)
        with metadata.transaction() as connection:
            second = list(metadata.audit.events())[1]["id"]
            connection.execute(_T.update().where(_T.c.id == second).values(after={"version": 99}))
        with pytest.raises(AuditBroken, match=r"Audit event 2 .* was changed"):
            metadata.audit.verify()

    def test_two_that_changed_places(self, metadata: Metadata) -> None:
        write(metadata, 4)
        events = list(metadata.audit.events())
        with metadata.transaction() as connection:
            for number, other in ((1, events[2]), (2, events[1])):
                values = {name: other[name] for name in other if name != "id"}
                connection.execute(_T.update().where(_T.c.id == events[number]["id"]).values(**values))
        with pytest.raises(AuditBroken, match=r"Audit event 2 .*removed, inserted or moved"):
            metadata.audit.verify()

    def test_one_that_was_smuggled_in(self, metadata: Metadata) -> None:
        """With a right hash of its own, after the second event."""
        from windsock.provider.metadata.audit_chain import link

        write(metadata, 3)
        with metadata.transaction() as connection:
            rows = [dict(row) for row in connection.execute(_T.select().order_by(_T.c.id)).mappings()]
            forged = {**rows[1], "actor": "user:mallory", "previous": rows[1]["hash"]}
            forged["hash"] = link(rows[1]["hash"], forged)
            connection.execute(_T.delete().where(_T.c.id == rows[2]["id"]))
            forged["id"] = rows[2]["id"]
            rows[2]["id"] += 1
            connection.execute(_T.insert(), [forged, rows[2]])
        with pytest.raises(AuditBroken, match=r"Audit event 3 .*mallory.* is not the one that was kept"):
            metadata.audit.verify()
        by_hand(metadata, "DELETE FROM windsock_audit_head")
        with pytest.raises(AuditBroken, match=r"Audit event 4 .*removed, inserted or moved"):
            metadata.audit.verify()

    def test_who_writes_the_whole_chain_anew_is_found_by_a_head_that_was_kept(self, metadata: Metadata) -> None:
        from windsock.provider.metadata.audit_chain import link

        write(metadata, 4)
        kept = metadata.audit.head()
        write(metadata, 1)
        end = GENESIS
        with metadata.transaction() as connection:
            for row in list(metadata.audit.events()):
                forged = {**row, "actor": "user:nobody"}
                values = {"actor": "user:nobody", "previous": end, "hash": link(end, forged)}
                connection.execute(_T.update().where(_T.c.id == row["id"]).values(**values))
                end = values["hash"]
            connection.execute(schema.audit_head.update().values(hash=end))
        assert metadata.audit.verify().events == 5
        with pytest.raises(AuditBroken, match=r"Audit event 4 .* written anew"):
            metadata.audit.verify(kept)

    def test_an_end_that_was_cut_with_its_head_is_found_by_a_head_that_was_kept(self, metadata: Metadata) -> None:
        write(metadata, 5)
        kept = metadata.audit.head()
        last = list(metadata.audit.events())[-1]
        by_hand(metadata, "DELETE FROM windsock_audit_event WHERE id = :id", id=last["id"])
        by_hand(metadata, "UPDATE windsock_audit_head SET events = 4, hash = :hash", hash=last["previous"])
        assert metadata.audit.verify().events == 4
        with pytest.raises(AuditBroken, match="ends after event 4, but there were 5"):
            metadata.audit.verify(kept)

    def test_a_head_that_is_none(self) -> None:
        for words in ("", "5", "5:abc", f"x:{GENESIS}", f"5:{'z' * 64}"):
            with pytest.raises(AuditBroken, match="no head"):
                Head.parse(words)
        assert Head.parse(f" 0:{GENESIS}\n") == Head()


class TestMigration:
    @pytest.fixture(params=["sqlite", "postgresql"])
    def empty(self, request: pytest.FixtureRequest, tmp_path: Path) -> str:
        if request.param == "sqlite":
            return f"sqlite:///{tmp_path / 'old.db'}"
        make: Callable[[], str] = request.getfixturevalue("postgres_database")
        return make()

    def test_events_that_are_there_are_chained(self, empty: str) -> None:
        migrate.upgrade(empty, "0001")
        old = text(
            'INSERT INTO windsock_audit_event (id, "at", actor, action, subject_kind, subject, "before", reason)'
            " VALUES (:id, :at, 'me', 'promote', 'model', 'churn', :before, 'why')"
        )
        with engine_for(Database(empty).url).begin() as connection:
            for i in (1, 2, 5, 9):  # numbers have gaps where transactions were rolled back
                at = datetime(2026, 1, i, tzinfo=timezone.utc)
                when = at.isoformat(timespec="microseconds") if empty.startswith("sqlite") else at
                connection.execute(old, {"id": i, "at": when, "before": json.dumps({"version": i, "share": 1.0})})
        migrate.upgrade(empty)
        metadata = Metadata.open(empty)
        assert metadata.audit.verify() == metadata.audit.head()
        assert metadata.audit.head().events == 4
        assert [e.id for e in metadata.audit.list()] == [9, 5, 2, 1]
        if empty.startswith("sqlite"):
            metadata.audit.append("me", "note", "model", "churn")
            assert metadata.audit.list()[0].id == 10
            assert metadata.audit.verify().events == 5
        migrate.downgrade(empty, "0001")
        with engine_for(Database(empty).url).connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM windsock_audit_event")).scalar() >= 4
        assert migrate.upgrade(empty) == schema.HEAD
        assert Metadata.open(empty).audit.verify().events >= 4


class TestCheckOfAnExport:
    def test_the_same_events_in_any_json(self, metadata: Metadata) -> None:
        write(metadata, 3)
        rows = [
            json.loads(json.dumps({**e, "at": e["at"].isoformat(timespec="microseconds")}))
            for e in metadata.audit.events()
        ]
        chain = Chain()
        chain.feed(rows)
        assert chain.end() == metadata.audit.head()
