"""Encrypted stores: the contract of every store, what lies in the bucket, and what goes wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stores_lab import aws, azure_store, context, gcs_store, google, s3_store, wasb
from windsock.provider.artifacts import private
from windsock.provider.artifacts.handle import Artifact
from windsock.provider.artifacts.saving import load, save
from windsock.provider.artifacts.stores.local import LocalArtifactStore
from windsock.provider.errors import (
    ArtifactCorrupted,
    ComponentInvalid,
    ConfigurationError,
    ConnectionNotFound,
    EncryptionKeyNotFound,
    EncryptionKeyWrong,
    FlavorNotFound,
)
from windsock.provider.security.keys import fingerprint, new_key, read_key
from windsock.provider.security.sealing import HEADER_SIZE, STRIDE
from windsock.provider.testing.artifacts import ArtifactStoreContract

OLD, NEW = new_key(), new_key()
SECRET = b"the balance of Ms Miller is 1234.56"


def keys(*values: str) -> dict:
    return {"conn_type": "generic", "password": ",".join(values)}


def make(folder: Path, *values: str, **encryption):
    """A local store whose connection ``artifact_keys`` holds those keys."""
    options = {"path": str(folder), "encryption": {"key": "artifact_keys", **encryption}}
    return LocalArtifactStore.from_mapping(options, context(folder / "home", artifact_keys=keys(*(values or (OLD,)))))


def plain(folder: Path):
    return LocalArtifactStore.from_mapping({"path": str(folder)}, context(folder / "home"))


def ref_of(stored) -> dict:
    return {"uri": stored.uri, "digest": stored.digest, "type": stored.type, "materializer": stored.materializer}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def blob(store, stored) -> Path:
    """The sealed file, to be tampered with."""
    path = store.inner.local_path(stored.uri)
    path.chmod(0o600)
    return path


@pytest.fixture
def store(tmp_path):
    return make(tmp_path / "artifacts")


class TestEncryptedLocalStore(ArtifactStoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return make(tmp_path / "artifacts")

    @pytest.fixture
    def broken_store(self, tmp_path):
        (tmp_path / "file").write_text("in the way")
        return make(tmp_path / "file" / "artifacts")


class TestEncryptedS3Store(ArtifactStoreContract):
    @pytest.fixture
    def make(self, tmp_path, moto_server):
        def make(bucket=None):
            below = s3_store(tmp_path, moto_server, bucket)
            options = {**below.config.model_dump(), "encryption": {"key": "artifact_keys"}}
            return type(below).from_mapping(options, context(tmp_path, ml=aws(moto_server), artifact_keys=keys(OLD)))

        return make

    @pytest.fixture
    def store(self, make):
        return make()

    @pytest.fixture
    def broken_store(self, make):
        return make("bucket-that-is-gone")


class TestOtherClouds:
    """The code above the five methods is the same; this is that the five methods are."""

    @staticmethod
    def _round_trip(below, home, connection, tmp_path):
        options = {**below.config.model_dump(), "encryption": {"key": "artifact_keys"}}
        store = type(below).from_mapping(options, context(home, ml=connection, artifact_keys=keys(OLD)))
        folder = tmp_path / "patients"
        folder.mkdir()
        for name in ("miller", "smith"):
            (folder / name).write_bytes(SECRET * 1000)
        for value in (folder, {"note": 1}, np.arange(3_000_000.0)):
            stored = save(value, store)
            loaded = load(ref_of(stored), store)
            if value is folder:
                assert sorted(path.name for path in loaded.iterdir()) == ["miller", "smith"]
            else:
                np.testing.assert_equal(loaded, value)
        assert not [uri for uri in store.list("") if "miller" in uri]
        assert store.rekey().failed == []
        assert store.check().ok

    def test_google_cloud_storage(self, gcs_server, tmp_path):
        self._round_trip(gcs_store(tmp_path, gcs_server), tmp_path, google(gcs_server), tmp_path)

    def test_azure_blob_storage(self, azurite_server, tmp_path):
        self._round_trip(azure_store(tmp_path, azurite_server), tmp_path, wasb(azurite_server), tmp_path)


VALUES = {
    "text": SECRET.decode(),
    "plain data": {"note": SECRET.decode()},
    "bytes": SECRET * 200_000,
    "small array": np.frombuffer(SECRET, np.uint8),
    "array": np.frombuffer(SECRET * 200_000, np.uint8),
    "small table": pd.DataFrame({"balance": [SECRET.decode()]}),
    "table": pd.DataFrame({"balance": np.arange(400_000.0), "of": [SECRET.decode()] * 400_000}),
    "list of arrays": [np.frombuffer(SECRET, np.uint8), SECRET.decode()],
}


class TestWhatLiesThere:
    @pytest.mark.parametrize("kind", VALUES)
    def test_nothing_is_readable_and_everything_comes_back(self, store, tmp_path, kind):
        value = VALUES[kind]
        stored = save(value, store)
        loaded = load(ref_of(stored), store)
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(loaded, value)
        else:
            np.testing.assert_equal(loaded, value)
        assert not [path for path in files(tmp_path) if b"Miller" in path.read_bytes()]
        assert save(value, store).uri == stored.uri, "stored once"
        assert stored.digest.removeprefix("blake3:") not in stored.uri, "a name is no digest of the content"

    def test_the_digest_is_that_of_the_plain_content(self, store, tmp_path):
        for value in VALUES.values():
            assert save(value, store).digest == save(value, plain(tmp_path / "plain")).digest

    def test_a_folder_hides_the_names_of_its_files(self, store, tmp_path):
        folder = tmp_path / "patients"
        (folder / "deep").mkdir(parents=True)
        (folder / "miller.txt").write_bytes(SECRET)
        (folder / "deep" / "big.bin").write_bytes(SECRET * 300_000)
        stored = save(folder, store)
        there = [path.relative_to(tmp_path / "artifacts").as_posix() for path in files(tmp_path / "artifacts")]
        assert not [name for name in there if "miller" in name or "big" in name]
        assert len([name for name in there if name.startswith("keys/")]) == 2, "one for names, one for the folder"
        for path in files(tmp_path / "artifacts"):
            assert b"iller" not in path.read_bytes()
        loaded = load(ref_of(stored), store)
        assert (loaded / "miller.txt").read_bytes() == SECRET
        assert (loaded / "deep" / "big.bin").read_bytes() == SECRET * 300_000

    def test_control_files_are_sealed_and_the_prediction_log_is_not(self, store, tmp_path):
        store.put_bytes("invocations/1.json", SECRET)
        store.put_bytes("predictions/model_name=m/part.parquet", b"PAR1 for other tools")
        assert SECRET not in (tmp_path / "artifacts/invocations/1.json").read_bytes()
        assert store.get_bytes("invocations/1.json") == SECRET
        there = tmp_path / "artifacts/predictions/model_name=m/part.parquet"
        (tmp_path / "part").write_bytes(b"PAR1 as well")
        uri = store.commit(tmp_path / "part", "predictions/model_name=m/part-2.parquet")
        assert there.with_name("part-2.parquet").read_bytes() == b"PAR1 as well" == store.get_bytes(uri)
        assert (store.size(uri), store.local_path(uri) is not None) == (12, True)
        assert there.read_bytes() == b"PAR1 for other tools" == store.get_bytes("predictions/model_name=m/part.parquet")

    def test_a_control_file_that_is_written_often_has_one_key(self, store):
        for n in range(5):
            store.put_bytes("state.json", str(n).encode(), overwrite=True)
        assert store.get_bytes("state.json") == b"4"
        assert len(list(store.list("keys/"))) == 1

    def test_another_store_gives_another_name(self, tmp_path):
        one, two = (save("same", make(tmp_path / name)) for name in ("one", "two"))
        assert (one.digest, one.uri.rpartition("/")[2] == two.uri.rpartition("/")[2]) == (two.digest, False)

    def test_old_plain_artifacts_are_read_where_they_are(self, tmp_path):
        folder = tmp_path / "artifacts"
        array = np.arange(10_000.0)
        before = save(array, plain(folder))
        store = make(folder)
        assert np.array_equal(load(ref_of(before), store), array)
        assert store.local_path(before.uri) is not None, "no copy is made of it"
        after = save(array, store)
        assert after.digest == before.digest
        assert (store.is_encrypted(before.uri), store.is_encrypted(after.uri)) == (False, True)
        assert sorted(store.size(uri) for uri in (before.uri, after.uri)) == [before.size] * 2

    def test_plain_artifacts_can_be_refused(self, tmp_path):
        before = save([1, 2], plain(tmp_path / "artifacts"))
        strict = make(tmp_path / "artifacts", allow_unencrypted=False)
        with pytest.raises(ArtifactCorrupted, match="is not encrypted, and this store reads only what is"):
            load(ref_of(before), strict)
        assert load(ref_of(save([1, 2], strict)), strict) == [1, 2]

    def test_deleting_an_artifact_deletes_its_key(self, store, tmp_path):
        (tmp_path / "f").mkdir()
        (tmp_path / "f" / "a").write_text("a")
        for value in ("text", tmp_path / "f"):
            store.delete(save(value, store).uri)
        assert [uri.rpartition("/")[2] for uri in store.list("")] == ["names.json"]

    def test_handles_open_and_give_paths(self, store):
        array = np.arange(1000.0)
        handle = Artifact.bind(ref_of(save(array, store)), store)
        assert np.array_equal(handle.open(), array)
        path = handle.path()
        assert (path.parent.stat().st_mode & 0o777, np.load(path)[-1]) == (0o700, 999.0)

    def test_columns_of_a_table(self, store):
        frame = pd.DataFrame({f"c{i}": np.arange(100_000.0) + i for i in range(12)})
        ref = ref_of(save(frame, store))
        pd.testing.assert_frame_equal(load(ref, store, columns=["c3", "c1"]), frame[["c3", "c1"]])
        pd.testing.assert_frame_equal(load(ref, store, verify=False), frame)

    def test_previews_can_be_kept_out_of_the_metadata(self, tmp_path):
        frame = pd.DataFrame({"balance": [SECRET.decode()]})
        assert "Miller" in json.dumps(save(frame, make(tmp_path / "a")).metadata)
        without = save(frame, make(tmp_path / "a", previews=False)).metadata
        assert "Miller" not in json.dumps(without)
        assert (without["shape"], list(without["schema"])) == ([1, 1], ["balance"])

    def test_another_process_builds_the_same_store(self, store):
        from windsock.provider.deployers.server.loading import build_store, describe_store

        ref = ref_of(save("text", store))
        described = json.loads(json.dumps(describe_store(store)))
        assert OLD not in json.dumps(described)
        again = build_store(described, str(store.context.settings.home), store.context.credentials)
        assert load(ref, again) == "text"
        assert store.connections() == ("artifact_keys",)


class TestPlainContentIsNotLeftBehind:
    @pytest.fixture
    def temporary(self, tmp_path, monkeypatch):
        folder = tmp_path / "tmp"
        folder.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(folder))
        return folder

    def test_nothing_stays_after_saving_and_loading(self, store, temporary, tmp_path):
        source = tmp_path / "source"
        source.mkdir()
        (source / "a").write_bytes(SECRET)
        kept = VALUES["list of arrays"]  # an item of a container may go on reading
        for value in [*VALUES.values(), source]:
            ref = ref_of(save(value, store))
            if value is not source and value is not kept:
                load(ref, store)
        assert files(temporary) == []
        assert list(temporary.glob("windsock-*")) == []
        assert files(tmp_path / "artifacts" / ".staging") == []

    def test_what_was_given_as_a_path_goes_with_the_process(self, store, temporary, tmp_path):
        source = tmp_path / "source"
        source.mkdir()
        (source / "a").write_bytes(SECRET)
        refs = [ref_of(save(value, store)) for value in (source, VALUES["list of arrays"])]
        program = (
            "import sys; sys.path.insert(0, sys.argv[1]); import json, test_encryption as t; from pathlib import Path\n"
            "store = t.make(Path(sys.argv[2]), sys.argv[3])\n"
            "path, _ = [t.load(ref, store) for ref in json.loads(sys.argv[4])]\n"
            "assert (path / 'a').read_bytes() == t.SECRET and path.parent.stat().st_mode & 0o777 == 0o700\n"
            "print(path)"
        )
        folder = str(tmp_path / "artifacts")
        command = [sys.executable, "-c", program, str(Path(__file__).parent), folder, OLD, json.dumps(refs)]
        environ = {**os.environ, "TMPDIR": str(temporary)}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environ)
        assert str(temporary) in done.stdout
        assert files(temporary) == []

    def test_nothing_stays_after_a_failure(self, store, temporary, tmp_path):
        class Unwritable:
            def __reduce__(self):
                raise RuntimeError("half way")

        with pytest.raises(RuntimeError, match="half way"):
            save([SECRET, Unwritable()], store, allow_pickle=True)
        assert files(temporary) == files(tmp_path / "artifacts" / ".staging") == []

    def test_streams_never_touch_a_plain_file(self, store, monkeypatch):
        """Values that are written front to back, or read into memory, have no use for the private folder."""
        seen = []
        monkeypatch.setattr(private.PrivateFolder, "remove", lambda self: seen.extend(files(self.path)))
        for kind in ("bytes", "array", "table", "text"):
            load(ref_of(save(VALUES[kind], store)), store)
        assert seen == []

    def test_what_a_killed_process_left_goes_with_the_next_one(self, temporary):
        program = (
            "import os, signal; from windsock.provider.artifacts.private import PrivateFolder; "
            "folder = PrivateFolder(); (folder.path / 'plain').write_text('x'); print(folder.path, flush=True); "
            "os.kill(os.getpid(), signal.SIGKILL)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            check=False,
            env={**os.environ, "TMPDIR": str(temporary)},
            capture_output=True,
            text=True,
        )
        left = Path(done.stdout.strip())
        assert (left / "plain").exists()
        assert left.stat().st_mode & 0o777 == 0o700
        alive = private.PrivateFolder()
        for path in (left, alive.path):
            os.utime(path, (0, 0))
        assert private.sweep(str(temporary)) == 1
        assert (left.exists(), alive.path.exists()) == (False, True)
        alive.remove()


class TestWhatGoesWrong:
    """One clear error each; ``check`` says it before a run does."""

    def test_a_changed_chunk(self, store):
        for value in ("small", np.arange(400_000.0), VALUES["table"]):
            stored = save(value, store)
            path = blob(store, stored)
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
            with pytest.raises(
                ArtifactCorrupted, match=r"not what was stored: encrypted chunk \d+ does not open: it was"
            ):
                load(ref_of(stored), store)

    def test_a_truncated_file(self, store):
        stored = save(np.arange(400_000.0), store)
        os.truncate(blob(store, stored), HEADER_SIZE + 2 * STRIDE)
        with pytest.raises(ArtifactCorrupted, match="chunk 1 does not open: it is cut off"):
            load(ref_of(stored), store)

    def test_two_artifacts_swapped(self, store):
        one, two = save("approved", store), save("rejected", store)
        blob(store, one).write_bytes(blob(store, two).read_bytes())
        with pytest.raises(ArtifactCorrupted, match="is another object's"):
            load(ref_of(one), store, verify=False)

    def test_the_wrong_key(self, tmp_path):
        stored = save("text", make(tmp_path / "a", OLD))
        other = make(tmp_path / "a", NEW)
        with pytest.raises(EncryptionKeyWrong) as caught:
            load(ref_of(stored), other)
        message = str(caught.value)
        assert fingerprint(read_key(OLD, "")) in message
        assert "artifact_keys" in message
        assert OLD not in message
        assert NEW not in message
        assert not other.check().ok

    def test_no_key_in_the_connection(self, tmp_path):
        empty = LocalArtifactStore.from_mapping(
            {"path": str(tmp_path), "encryption": {"key": "empty"}}, context(tmp_path, empty={"conn_type": "generic"})
        )
        with pytest.raises(EncryptionKeyNotFound, match='Connection "empty" has no password'):
            save("text", empty)
        assert "new-key" in (empty.check().hint or "")

    def test_no_connection(self, tmp_path):
        options = {"path": str(tmp_path), "encryption": {"key": "nowhere"}}
        with pytest.raises(ConnectionNotFound, match="nowhere"):
            save("text", LocalArtifactStore.from_mapping(options, context(tmp_path)))

    def test_a_key_of_the_wrong_length_is_not_quoted(self, tmp_path):
        with pytest.raises(ConfigurationError, match="not 32 bytes in base64") as caught:
            save("text", make(tmp_path, "c2hvcnQ="))
        assert "c2hvcnQ" not in str(caught.value)

    def test_a_data_key_that_is_gone(self, store, tmp_path):
        stored = save("text", store)
        for path in (tmp_path / "artifacts" / "keys").glob("??/*"):
            path.unlink()
        with pytest.raises(EncryptionKeyNotFound, match=r"wrapped data key .* is gone"):
            load(ref_of(stored), make(tmp_path / "artifacts"))
        assert save("text", store).uri == stored.uri, "storing the same again"
        assert load(ref_of(stored), make(tmp_path / "artifacts")) == "text", "repairs it"

    def test_a_data_key_that_was_changed(self, store, tmp_path):
        stored = save("text", store)
        (path,) = (tmp_path / "artifacts" / "keys").glob("??/*")
        for change in (lambda text: "{}", lambda text: text.replace(text[-20:-10], "AAAAAAAAAA")):
            text = path.read_text()
            path.chmod(0o600)
            path.write_text(change(text))
            with pytest.raises(ArtifactCorrupted, match=r"wrapped key .* was changed or damaged"):
                load(ref_of(stored), make(tmp_path / "artifacts"))
            path.write_text(text)

    def test_the_data_key_of_another_artifact(self, store, tmp_path):
        one, _ = save("one", store), save("two", store)
        first, second = sorted((tmp_path / "artifacts" / "keys").glob("??/*"))
        a, b = first.read_bytes(), second.read_bytes()
        for path, data in ((first, b), (second, a)):
            path.chmod(0o600)
            path.write_bytes(data)
        with pytest.raises(ArtifactCorrupted, match="wrapped key"):
            load(ref_of(one), make(tmp_path / "artifacts"))

    @pytest.mark.parametrize(
        ("encryption", "message"),
        [
            ({}, '"key" is missing'),
            ({"key": ""}, "at least 1 character"),
            ({"keys": "a"}, '"keys" is not an option. Did you mean "key"'),
            ("artifact_keys", "encryption"),
        ],
    )
    def test_options_that_are_wrong(self, tmp_path, encryption, message):
        with pytest.raises(ComponentInvalid, match=re.escape(message)):
            LocalArtifactStore.from_mapping({"path": str(tmp_path), "encryption": encryption}, context(tmp_path))

    def test_a_service_that_is_not_known(self, tmp_path):
        options = {"path": str(tmp_path), "encryption": {"key": "aws-kmz://alias/x"}}
        store = LocalArtifactStore.from_mapping(options, context(tmp_path))
        with pytest.raises(FlavorNotFound, match='Did you mean "aws-kms"'):
            save("text", store)
        assert not store.check().ok


class TestRotation:
    @pytest.fixture
    def stored(self, tmp_path):
        before = make(tmp_path / "a", OLD)
        folder = tmp_path / "f"
        folder.mkdir()
        (folder / "x").write_text("x")
        return [save(value, before) for value in ("one", "two", np.arange(300_000.0), folder)]

    def test_data_stay_as_they_are_and_the_old_key_may_go(self, tmp_path, stored):
        data = {path: path.read_bytes() for path in files(tmp_path / "a") if "keys" not in path.parts}
        both = make(tmp_path / "a", NEW, OLD)
        assert load(ref_of(stored[0]), both) == "one"
        looked = both.rekey(dry_run=True)
        assert (looked.current, looked.rewrapped, looked.failed) == (0, 5, [])
        done = both.rekey()
        assert (done.current, done.rewrapped, done.failed, done.total) == (0, 5, [], 5)
        assert done.key_id == fingerprint(read_key(NEW, ""))
        again = both.rekey()
        assert (again.current, again.rewrapped) == (5, 0), "idempotent"
        assert {path: path.read_bytes() for path in data} == data
        new = make(tmp_path / "a", NEW)
        assert load(ref_of(stored[1]), new) == "two"
        assert save("one", new).uri == stored[0].uri, "names stay, so that content is still stored once"
        with pytest.raises(EncryptionKeyWrong):
            load(ref_of(stored[0]), make(tmp_path / "a", OLD))

    def test_to_another_connection(self, tmp_path, stored):
        where = context(tmp_path, old=keys(OLD), new=keys(NEW))
        options = {"path": str(tmp_path / "a"), "encryption": {"key": "new", "previous": ["old"]}}
        moved = LocalArtifactStore.from_mapping(options, where)
        assert moved.rekey().rewrapped == 5
        assert moved.connections() == ("new", "old")
        alone = LocalArtifactStore.from_mapping({**options, "encryption": {"key": "new"}}, where)
        assert load(ref_of(stored[0]), alone) == "one"

    def test_killed_in_the_middle_it_goes_on_the_next_time(self, tmp_path, stored):
        program = (
            "import sys; sys.path.insert(0, sys.argv[1]); import test_encryption as t; from pathlib import Path; "
            "t.make(Path(sys.argv[2]), *sys.argv[3:]).rekey()"
        )
        command = [sys.executable, "-c", program, str(Path(__file__).parent), str(tmp_path / "a"), NEW, OLD]
        killed = subprocess.run(
            command, check=False, env={**os.environ, "WINDSOCK_FAULT_POINT": "artifacts.encryption.before_rewrap@3"}
        )
        assert killed.returncode == -9
        both = make(tmp_path / "a", NEW, OLD)
        assert [load(ref_of(one), both) is not None for one in stored] == [True] * 4
        done = both.rekey()
        assert done.failed == []
        assert 0 < done.rewrapped < 6
        assert done.total == 5
        assert load(ref_of(stored[0]), make(tmp_path / "a", NEW)) == "one"

    def test_what_cannot_be_unwrapped_is_named(self, tmp_path, stored):
        only = make(tmp_path / "a", NEW)
        done = only.rekey()
        assert (done.rewrapped, len(done.failed)) == (0, 5)
        assert "was wrapped by key" in done.failed[0][1]

    def test_while_others_write(self, tmp_path, stored):
        both, writer = make(tmp_path / "a", NEW, OLD), make(tmp_path / "a", OLD, NEW)
        with ThreadPoolExecutor(2) as pool:
            writing = pool.submit(lambda: [save(f"value {n}", writer) for n in range(60)])
            for _ in range(5):
                assert both.rekey().failed == []
            new = writing.result()
        both.rekey()
        fresh = make(tmp_path / "a", NEW)
        assert [load(ref_of(one), fresh) for one in new] == [f"value {n}" for n in range(60)]


class TestRaces:
    def test_writers_of_the_same_content_in_several_processes(self, tmp_path):
        """Whoever wins, the object that stays names a key that is there."""
        program = (
            "import sys; sys.path.insert(0, sys.argv[1]); import test_encryption as t; from pathlib import Path\n"
            "store = t.make(Path(sys.argv[2]), sys.argv[3]); folder = Path(sys.argv[4])\n"
            "print(*[t.save(v, store).uri for v in [*map(str, range(40)), folder]])"
        )
        folder = tmp_path / "folder"
        folder.mkdir()
        for n in range(10):
            (folder / str(n)).write_text(str(n))
        command = [sys.executable, "-c", program, str(Path(__file__).parent), str(tmp_path / "a"), OLD, str(folder)]
        racing = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        uris = [process.communicate()[0] for process in racing]
        assert uris[0] == uris[1] == uris[2] != ""
        store = make(tmp_path / "a")
        for n in range(40):
            stored = save(str(n), store)
            assert load(ref_of(stored), store) == str(n)
        assert sorted(path.name for path in load(ref_of(save(folder, store)), store).iterdir()) == sorted("0123456789")

    @pytest.mark.parametrize("count", [1, 2])
    def test_killed_between_key_and_object(self, tmp_path, count):
        program = (
            "import sys; sys.path.insert(0, sys.argv[1]); import test_encryption as t; from pathlib import Path; "
            "t.save('text', t.make(Path(sys.argv[2]), sys.argv[3]))"
        )
        command = [sys.executable, "-c", program, str(Path(__file__).parent), str(tmp_path / "a"), OLD]
        point = ("artifacts.encryption.key_kept", "artifacts.commit.before_rename@3")[count - 1]
        killed = subprocess.run(command, check=False, env={**os.environ, "WINDSOCK_FAULT_POINT": point})
        assert killed.returncode == -9
        store = make(tmp_path / "a")
        assert not list(store.list("objects/"))
        assert load(ref_of(save("text", store)), store) == "text"
