"""Changing the key of an encrypted store, as people do it."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def connection(windsock, home, tmp_path, monkeypatch):
    """An encrypted stack, and a function that sets the keys of its connection."""
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "safe.yaml").write_text(
        "artifact_store: {flavor: local, encryption: {key: artifact_keys}}\n"
    )
    monkeypatch.setenv("WINDSOCK_STACK", "safe")

    def hold(*keys: str) -> None:
        monkeypatch.setenv(
            "AIRFLOW_CONN_ARTIFACT_KEYS", json.dumps({"conn_type": "generic", "password": ",".join(keys)})
        )

    return hold


def test_the_key_is_changed_without_touching_data(windsock, connection, home):
    old, new = (windsock("artifact", "new-key").out.strip() for _ in range(2))
    connection(old)
    assert windsock("run", "prices:prices").code == 0
    data = {path: path.read_bytes() for path in (home / "artifacts" / "objects").rglob("*") if path.is_file()}
    connection(new)
    wrong = windsock("artifact", "rekey")
    assert (wrong.code, "failed: keep the old key" in wrong.out) == (1, True)
    verified = windsock("artifact", "verify")
    assert (verified.code, "was wrapped by key" in verified.out) == (1, True)
    connection(new, old)
    looked = windsock("artifact", "rekey", "--dry-run", "--output", "json").json
    assert (looked["current"], looked["failed"], looked["rewrapped"] > 3) == (0, [], True)
    assert windsock("artifact", "rekey").code == 0
    connection(new)
    assert windsock("artifact", "rekey", "--output", "json").json["current"] == looked["rewrapped"]
    assert windsock("artifact", "verify").code == 0
    assert {path: path.read_bytes() for path in data} == data
    for path in home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert old.encode() not in content
            assert new.encode() not in content


def test_a_store_that_is_not_encrypted_says_so(windsock, home):
    answer = windsock("artifact", "rekey")
    assert answer.code == 1
    assert "is not encrypted" in answer.err
    assert "encryption: {key:" in answer.err


def test_a_wrong_option_names_file_and_line(windsock, connection, tmp_path):
    (tmp_path / "stacks" / "safe.yaml").write_text("artifact_store:\n  flavor: local\n  encryption:\n    kye: x\n")
    answer = windsock("artifact", "rekey")
    assert answer.code == 1
    assert "safe.yaml" in answer.err
    assert '"kye" is not an option' in answer.err
