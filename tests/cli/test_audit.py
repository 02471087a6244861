"""``windsock audit``: list, export, verify, and a head kept elsewhere."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from windsock.provider.metadata import Metadata, NewArtifact, NewModelVersion


@pytest.fixture
def churn(home):
    """A model with one version."""
    metadata = Metadata.open(f"sqlite:///{home / 'windsock.db'}")
    new = NewArtifact(artifact="m", uri="file:///m", digest="blake3:" + "0" * 64, size=1, type="int")
    metadata.models.register(NewModelVersion(model="churn", artifact=metadata.artifacts.record(new).ref()))


def change(windsock, count=3):
    for i in range(count):
        assert windsock("model", "alias", "churn", f"alias{i}", "1", "--reason", "try").code == 0


class TestAudit:
    def test_list_names_who_did_what_and_why(self, windsock, churn):
        change(windsock, 1)
        newest, *_ = windsock("audit", "list", "--output", "json").json
        assert (newest["actor"], newest["action"], newest["subject"]) == ("user:tester", "promote", "churn")
        assert newest["after"] == {"alias": "alias0", "version": 1}
        assert "alias=alias0" in windsock("audit", "list", "--kind", "model", "--subject", "churn").out
        assert windsock("audit", "list", "--subject", "churn").code == 2

    def test_an_export_is_verified_without_the_database(self, windsock, churn, tmp_path):
        change(windsock)
        told = windsock("audit", "export", "--to", "audit.jsonl", "--output", "json").json
        assert windsock("audit", "head").out.strip() == told["head"]
        (tmp_path / "home" / "windsock.db").unlink()
        assert windsock("audit", "verify", "audit.jsonl", "--output", "json").json == {
            "ok": True, "where": "audit.jsonl", "events": told["events"], "head": told["head"],
        }  # fmt: skip
        lines = (tmp_path / "audit.jsonl").read_text().splitlines()
        assert len(lines) == told["events"]

        def verdict(*changed, heads=()):
            (tmp_path / "other.jsonl").write_text("".join(f"{line}\n" for line in changed))
            return windsock("audit", "verify", "other.jsonl", *(word for head in heads for word in ("--head", head)))

        edited = json.dumps({**json.loads(lines[1]), "actor": "user:mallory"})
        assert "Audit event 2 " in verdict(lines[0], edited, *lines[2:]).err
        assert verdict(lines[0], *lines[2:]).code == 1
        assert "Audit event 2 " in verdict(lines[0], lines[2], lines[1], *lines[3:]).err
        assert verdict(*lines[:-1]).code == 0
        for head in (told["head"], "audit.jsonl"):
            cut = verdict(*lines[:-1], heads=[head])
            assert cut.code == 1
            assert "those at its end are missing" in cut.err
        assert "Line 2 of other.jsonl is no audit event" in verdict(lines[0], "{}").err

    def test_the_database_is_verified_against_an_earlier_export(self, windsock, churn, tmp_path):
        change(windsock)
        assert windsock("audit", "export", "--to", "audit.jsonl").code == 0
        change(windsock, 5)
        assert windsock("audit", "verify", "--head", "audit.jsonl").code == 0
        with sqlite3.connect(tmp_path / "home" / "windsock.db") as connection:
            connection.execute("UPDATE windsock_audit_event SET actor = 'user:mallory' WHERE id = 2")
        connection.close()
        broken = windsock("audit", "verify")
        assert broken.code == 1
        assert "AuditBroken: Audit event 2 (id 2: user:mallory" in broken.err

    def test_the_documented_script_checks_an_export(self, windsock, churn, tmp_path):
        change(windsock, 2)
        assert windsock("audit", "export", "--to", "audit-2026-11.jsonl").code == 0
        page = (Path(__file__).parents[2] / "docs/how-to/audit.md").read_text()
        script = page.split("```python")[1].split("```")[0]
        assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
        file = tmp_path / "audit-2026-11.jsonl"
        file.write_text(file.read_text().replace("user:tester", "user:mallory", 1))
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert "AssertionError: 2" in done.stderr

    def test_lines_on_standard_output(self, windsock, churn):
        lines = windsock("audit", "export").out.splitlines()
        assert next(json.loads(line)["previous"] for line in lines) == "0" * 64
