"""Killed at every write point, a saver leaves nothing half visible, and its retry stores the same artifact."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from stores_lab import aws
from windsock.provider.artifacts.digests import digest_bytes, read_manifest
from windsock.provider.artifacts.saving import load

SAVER = Path(__file__).with_name("saver.py")


def run(where: str, kind: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SAVER), where, kind, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)


def visible_is_whole(store) -> None:
    """Every object below objects/ has the digest that its name says, every manifest has all its files."""
    for uri in store.list("objects/"):
        name = uri.rpartition("/")[2]
        if name.endswith(".tree"):
            data = store.get_bytes(uri)
            assert digest_bytes(data) == f"blake3:{name.partition('.')[0]}"
            for file in read_manifest(data, uri):
                content = store.get_bytes(f"{uri.removesuffix('.tree')}/{file['name']}")
                assert digest_bytes(content) == file["digest"]
        elif len(name.partition(".")[0]) == 64:
            assert digest_bytes(store.get_bytes(uri)) == f"blake3:{name.partition('.')[0]}"


class TestKilledAnywhere:
    """The points are found by a traced run, so a new write point is tested as soon as it exists."""

    def killed_at_every_point(self, where, kind, tmp_path, fresh, **environment) -> int:
        trace = tmp_path / "trace"
        folder, _ = fresh()
        done = run(where, kind, folder, WINDSOCK_FAULT_TRACE=str(trace), **environment)
        assert done.returncode == 0, done.stderr
        expected = json.loads(done.stdout)
        reached = trace.read_text().splitlines()
        points = [f"{name}@{n}" for name in dict.fromkeys(reached) for n in range(1, reached.count(name) + 1)]
        for point in points:
            folder, store = fresh()
            assert run(where, kind, folder, WINDSOCK_FAULT_POINT=point, **environment).returncode == -signal.SIGKILL
            visible_is_whole(store)
            retried = run(where, kind, folder, **environment)
            assert retried.returncode == 0, retried.stderr
            ref = json.loads(retried.stdout)
            assert ref["digest"] == expected["digest"]
            visible_is_whole(store)
            value = load(ref, store)
            if kind == "array":
                assert np.array_equal(value, np.arange(1_500_000, dtype=np.float64))
            elif kind == "folder":
                assert (value / "deep" / "b.txt").read_text() == "b" * 100_000
        return len(points)

    @pytest.mark.parametrize(("kind", "at_least"), [("array", 7), ("folder", 10), ("metrics", 6)])
    def test_on_local_files(self, kind, at_least, tmp_path):
        from saver import store_of

        def fresh():
            folder = tmp_path / uuid.uuid4().hex
            folder.mkdir()
            return folder, store_of("local", folder)

        assert self.killed_at_every_point("local", kind, tmp_path, fresh) >= at_least

    @pytest.mark.slow
    @pytest.mark.parametrize(("kind", "at_least"), [("array", 5), ("folder", 7)])
    def test_on_s3(self, kind, at_least, tmp_path, moto_server, monkeypatch):
        from saver import store_of

        connection = json.dumps(aws(moto_server))
        monkeypatch.setenv("AIRFLOW_CONN_AWS", connection)

        def fresh():
            folder = tmp_path / uuid.uuid4().hex
            folder.mkdir()
            (folder / "bucket").write_text(f"crash-{uuid.uuid4().hex[:12]}")
            store = store_of("s3", folder)
            store.filesystem.call_s3("create_bucket", Bucket=store.config.bucket)
            return folder, store

        assert self.killed_at_every_point("s3", kind, tmp_path, fresh, AIRFLOW_CONN_AWS=connection) >= at_least


class TestRacingProcesses:
    @pytest.mark.parametrize("kind", ["array", "folder"])
    def test_the_same_content_is_stored_once(self, kind, tmp_path):
        from saver import store_of, value_of

        value_of(kind, tmp_path)
        with ThreadPoolExecutor(6) as pool:
            done = list(pool.map(lambda _: run("local", kind, tmp_path), range(6)))
        assert [d.returncode for d in done] == [0] * 6, done[0].stderr
        assert len({d.stdout for d in done}) == 1
        store = store_of("local", tmp_path)
        visible_is_whole(store)
        assert len(list(store.list("objects/"))) == (1 if kind == "array" else 3)

    def test_a_writer_and_a_sweeping_of_the_folder(self, tmp_path):
        """Deleting an artifact while others write into the same fan-out folder loses no write."""
        from saver import store_of

        store = store_of("local", tmp_path)

        def churn(n: int) -> bool:
            key = f"objects/aa/{n}"
            for _ in range(50):
                store.write(key, b"x")
                if not store.exists(key):
                    return False
                store.delete(key)
            return True

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(churn, range(4)))
        shutil.rmtree(tmp_path / "artifacts")
