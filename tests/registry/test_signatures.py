"""Signed model versions: what a signature covers, who is trusted, and what is not deployed without one."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path

import pytest
import serving_lab as lab
from windsock.provider.artifacts.saving import save
from windsock.provider.deployers import deployments
from windsock.provider.errors import ConfigurationError, ConnectionNotFound, SignatureInvalid, SignatureMissing
from windsock.provider.metadata import NewArtifact, NewModelVersion
from windsock.provider.security.credentials import EnvironmentCredentials
from windsock.provider.security.keys import new_key
from windsock.provider.security.signatures import new_signing_key
from windsock.provider.settings import Settings
from windsock.provider.stack import Stack

KEY = new_key()
PRIVATE, PUBLIC = new_signing_key()
OTHER_PRIVATE, OTHER_PUBLIC = new_signing_key()


def connection(password: str) -> str:
    return json.dumps({"conn_type": "generic", "password": password})


CONNECTIONS = {
    "AIRFLOW_CONN_ARTIFACT_KEYS": connection(KEY),
    "AIRFLOW_CONN_SIGNING": connection(PRIVATE),
    "AIRFLOW_CONN_OTHER": connection(OTHER_PRIVATE),
    "AIRFLOW_CONN_SIGNERS": connection(f"{OTHER_PUBLIC},{PUBLIC}"),
}


class World:
    """One home and one encrypted store; stacks over them with different settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "stacks").mkdir()
        (folder / "stacks" / "safe.yaml").write_text(
            f"artifact_store: {{flavor: local, path: {folder / 'artifacts'}, encryption: {{key: artifact_keys}}}}\n"
        )
        (folder / "stacks" / "strict.yaml").write_text(
            f"artifact_store: {{flavor: local, path: {folder / 'artifacts'}, encryption: {{key: artifact_keys}}}}\n"
            "deployer: {flavor: local, require_signatures: true, start_timeout: 90}\n"
        )
        self.stacks: list[Stack] = []

    def stack(self, name: str = "safe", **settings: str) -> Stack:
        environ = {
            "WINDSOCK_HOME": str(self.folder / "home"),
            "WINDSOCK_STACKS_FOLDER": str(self.folder / "stacks"),
            "WINDSOCK_ACTOR": "ada",
            **{f"WINDSOCK_{key.upper()}": value for key, value in settings.items()},
        }
        stack = Stack.load(
            name, settings=Settings.load(environ=environ), credentials=EnvironmentCredentials(CONNECTIONS)
        )
        self.stacks.append(stack)
        return stack

    def register(self, stack: Stack, bias: float = 1.0):
        stored = save(lab.linear(bias), stack.artifact_store)
        facts = {name: getattr(stored, name) for name in ("uri", "digest", "size", "type", "materializer")}
        artifact = stack.metadata.artifacts.record(NewArtifact(artifact="line.train", **facts))
        new = NewModelVersion(
            model="line",
            artifact=artifact.ref(),
            metrics={"accuracy": 0.1 + 0.2, "loss": float("nan")},
            input_schema=lab.LINEAR_SCHEMA,
            example=[lab.ROW],
            source=f"test/{bias}",
        )
        return stack.model_registry.register(new)

    def edit(self, statement: str) -> None:
        """What somebody with a login of the database may do."""
        with sqlite3.connect(self.folder / "home" / "windsock.db") as database:
            database.execute("PRAGMA foreign_keys = off")
            assert database.execute(statement).rowcount == 1


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    for stack in made.stacks:
        stack.metadata.close()


def deploy(stack: Stack, **options):
    return deployments.deploy(
        metadata=stack.metadata,
        deployer=stack.deployer,
        store=stack.artifact_store,
        name="line",
        model="line",
        actor="ada",
        **options,
    )


class TestSigning:
    def test_a_registered_version_is_signed_when_a_key_is_configured(self, world):
        stack = world.stack(signing_connection="signing")
        version = world.register(stack)
        signature = stack.model_registry.verify_signature("line", version.version)
        assert (signature.signed_by, signature.fresh) == ("ada", False)
        assert world.register(stack).version == version.version, "the retry of a step"
        assert [event.action for event in stack.metadata.audit.list()].count("sign") == 1

    def test_without_a_key_nothing_is_signed(self, world):
        stack = world.stack(trusted_keys=PUBLIC)
        world.register(stack)
        with pytest.raises(SignatureMissing, match="nobody has signed it"):
            stack.model_registry.verify_signature("line", 1)
        with pytest.raises(ConfigurationError, match="signing_connection is not set"):
            stack.model_registry.sign("line", 1, actor="ada")

    def test_a_connection_that_is_not_there(self, world):
        world.register(world.stack())
        with pytest.raises(ConnectionNotFound):
            world.stack(signing_connection="nowhere").model_registry.sign("line", 1, actor="ada")

    def test_who_is_trusted(self, world):
        world.register(world.stack(signing_connection="signing"))
        for trusted in (PUBLIC, f"{OTHER_PUBLIC},{PUBLIC}", "signers", f"signers,{OTHER_PUBLIC}"):
            assert world.stack(trusted_keys=trusted).model_registry.verify_signature("line", 1)
        with pytest.raises(SignatureMissing, match=r"keys that signed it and are not trusted: [0-9a-f]{16}"):
            world.stack(trusted_keys=OTHER_PUBLIC).model_registry.verify_signature("line", 1)
        with pytest.raises(ConfigurationError, match="no key is trusted"):
            world.stack().model_registry.verify_signature("line", 1)

    def test_another_key_may_sign_as_well(self, world):
        world.register(world.stack(signing_connection="signing"))
        second = world.stack(signing_connection="other").model_registry.sign("line", 1, actor="bob")
        found = world.stack(trusted_keys=OTHER_PUBLIC).model_registry.verify_signature("line", 1)
        assert (found.key, found.signed_by) == (second.key, "bob")
        assert world.stack(trusted_keys=PUBLIC).model_registry.verify_signature("line", 1).signed_by == "ada"

    @pytest.mark.parametrize("bad", ["c2hvcnQ=", "A" * 64])
    def test_a_bad_key_is_not_quoted(self, world, bad):
        world.register(world.stack())
        credentials = EnvironmentCredentials({**CONNECTIONS, "AIRFLOW_CONN_BAD": connection(bad)})
        stack = world.stack(signing_connection="bad")
        broken = Stack.load("safe", settings=stack.settings, credentials=credentials)
        world.stacks.append(broken)
        with pytest.raises(ConfigurationError, match="not 32 bytes in base64") as caught:
            broken.model_registry.sign("line", 1, actor="ada")
        assert bad not in str(caught.value)


class TestWhatASignatureCovers:
    @pytest.fixture
    def stack(self, world):
        stack = world.stack("strict", signing_connection="signing")
        world.register(stack)
        world.register(stack, 2.0)
        return stack

    @pytest.mark.parametrize(
        ("statement", "what"),
        [
            ("UPDATE windsock_model_version SET metrics = '{\"accuracy\": 0.99}' WHERE version = 1", "metrics"),
            (
                "UPDATE windsock_model_version SET input_schema = json_set(input_schema, '$.target', 'x') "
                "WHERE version = 1",
                "input_schema",
            ),
            (
                "UPDATE windsock_model_version SET artifact = (SELECT artifact FROM windsock_model_version WHERE "
                "version = 2) WHERE version = 1",
                "artifact",
            ),
        ],
    )
    def test_facts_that_were_changed_in_the_database(self, world, stack, statement, what):
        world.edit(statement)
        with pytest.raises(SignatureInvalid, match=f"what was signed is not what is registered: {what}"):
            deploy(stack, version=1)
        assert stack.metadata.deployments.find("line") is None, "refused before anything is recorded"

    def test_the_signature_of_another_version(self, stack):
        store = stack.artifact_store
        (one,), (two,) = (list(store.list(f"signatures/line/{n}/")) for n in (1, 2))
        store.put_bytes(store.key_of(one), store.get_bytes(two), overwrite=True)
        with pytest.raises(SignatureInvalid, match="not what is registered: version, artifact"):
            deploy(stack, version=1)

    @pytest.mark.parametrize("change", [("0.30000000000000004", "0.99"), ('"signature": "', '"signature": "AA')])
    def test_a_signature_that_was_changed(self, stack, change):
        store = stack.artifact_store
        (uri,) = store.list("signatures/line/1/")
        text = store.get_bytes(uri).decode()
        assert change[0] in text
        store.put_bytes(store.key_of(uri), text.replace(*change).encode(), overwrite=True)
        with pytest.raises(SignatureInvalid, match="it was changed, or another key made it"):
            deploy(stack, version=1)
        assert stack.model_registry.sign("line", 1, actor="ada").fresh, "signing again repairs it"

    def test_nonsense_in_its_place(self, stack):
        store = stack.artifact_store
        (uri,) = store.list("signatures/line/1/")
        for nonsense in (b"", b"[]", b'{"statement": 1}', b'{"statement": "x", "signature": "%%%"}'):
            store.put_bytes(store.key_of(uri), nonsense, overwrite=True)
            with pytest.raises(SignatureInvalid):
                deploy(stack, version=1)


class TestDeploying:
    def test_unsigned_is_refused_where_signatures_are_required(self, world):
        world.register(world.stack())
        by_setting = world.stack(require_signatures="true", trusted_keys=PUBLIC)
        by_stack = world.stack("strict", trusted_keys=PUBLIC)
        for stack in (by_setting, by_stack):
            with pytest.raises(SignatureMissing, match="line@1 has no signature of a trusted key") as caught:
                deploy(stack, version=1)
            assert "windsock model sign line@1" in str(caught.value)
            assert stack.metadata.deployments.find("line") is None

    def test_rolling_back_to_an_unsigned_version_is_refused(self, world):
        plain = world.stack()
        world.register(plain)
        signing = world.stack("strict", signing_connection="signing")
        world.register(signing, 2.0)
        deploy(signing, version=2)
        try:
            with pytest.raises(SignatureMissing):
                deployments.roll_back(
                    metadata=signing.metadata,
                    deployer=signing.deployer,
                    store=signing.artifact_store,
                    name="line",
                    version=1,
                    actor="ada",
                )
            found = signing.metadata.deployments.get("line")
            assert (found.version, found.phase) == (2, "ready"), "and what is served is served on"
            client = lab.Client(found.url)
            answer = client.post("/predict", lab.ROW)[1]["predictions"]
            client.close()
            assert answer == [5.0], "a signed model, out of an encrypted store, by a server of its own"
            self._no_secret_anywhere(world.folder, found)
        finally:
            deployments.delete(metadata=signing.metadata, deployer=signing.deployer, name="line", actor="ada")

    @staticmethod
    def _no_secret_anywhere(folder: Path, deployment) -> None:
        """Not in the database, its log, the server's release, state and logs, nor in what the store holds."""
        secrets = [text.encode() for text in (KEY, PRIVATE)]
        looked = 0
        for path in folder.rglob("*"):
            if path.is_file():
                looked += 1
                content = path.read_bytes()
                assert not [secret for secret in secrets if secret in content], path
        assert looked > 10
        assert KEY not in repr(deployment)


class TestCommands:
    def test_sign_verify_and_serve(self, world, monkeypatch, capsys):
        from windsock.provider.cli.main import main

        def windsock(*words: str) -> tuple[int, str]:
            capsys.readouterr()
            code = main([*words, "--stack", "strict"])
            out, err = capsys.readouterr()
            return code, out + err

        world.register(world.stack())
        monkeypatch.setattr(sys, "path", [*sys.path])
        for name, value in CONNECTIONS.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("WINDSOCK_HOME", str(world.folder / "home"))
        monkeypatch.setenv("WINDSOCK_STACKS_FOLDER", str(world.folder / "stacks"))
        monkeypatch.setenv("WINDSOCK_SIGNING_CONNECTION", "signing")
        assert windsock("serve", "line@1", "--port", "0")[0] == 1
        for command in (["model", "verify", "line@1"], ["deployment", "deploy", "line@1"]):
            code, text = windsock(*command)
            assert (code, "SignatureMissing" in text) == (1, True)
        assert "is signed with key" in windsock("model", "sign", "line@1")[1]
        assert "was signed already" in windsock("model", "sign", "line@1")[1]
        code, text = windsock("model", "verify", "line@1", "--output", "json")
        assert (code, json.loads(text)["model"]) == (0, "line@1")
        assert PRIVATE not in text
