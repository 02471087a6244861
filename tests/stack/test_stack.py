from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest
from windsock.provider.errors import (
    ComponentInvalid,
    ConnectionNotFound,
    FlavorNotFound,
    StackInvalid,
    StackNotFound,
    WindsockError,
)
from windsock.provider.security.credentials import EnvironmentCredentials
from windsock.provider.stack import Stack

SLOW = (
    "import time\n"
    "from windsock.provider.component import CheckResult, Component\n"
    "built = []\n"
    "class Slow(Component):\n"
    "    kind = 'alerter'\n"
    "    def __init__(self, config=None, context=None):\n"
    "        super().__init__(config, context)\n"
    "        time.sleep(0.05)\n"
    "        built.append(self)\n"
    "class Stuck(Component):\n"
    "    kind = 'alerter'\n"
    "    def check(self): time.sleep(30)\n"
    "class Rude(Component):\n"
    "    kind = 'alerter'\n"
    "    def check(self): raise RuntimeError('boom')\n"
)


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    (tmp_path / "acme_parts.py").write_text(SLOW)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "acme_parts"
    sys.modules.pop("acme_parts", None)


class TestLocal:
    def test_needs_no_file(self, settings):
        stack = Stack.load("local", settings=settings)
        assert [kind for kind, _ in stack.parts()] == [
            "artifact_store",
            "metadata_store",
            "compute.local",
            "model_registry",
            "deployer",
            "drift_detector",
        ]

    def test_is_active_by_default(self, settings):
        assert Stack.load(settings=settings).name == "local"

    def test_every_component_works(self, settings):
        rows = Stack.load("local", settings=settings).check()
        assert {row.kind: row.result.detail for row in rows if not row.result.ok} == {}
        assert settings.home.is_dir()

    def test_loading_it_imports_no_yaml_pydantic_or_database(self, tmp_path):
        program = (
            "import sys; from windsock.provider.stack import Stack; Stack.load('local').parts()\n"
            "print(sorted({'yaml', 'pydantic', 'sqlalchemy', 'pyarrow', 'numpy', 'fsspec'} & set(sys.modules)))"
        )
        environ = {**os.environ, "WINDSOCK_HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environ, cwd=tmp_path, check=False
        )
        assert done.stdout.strip() == "[]", done.stderr


class TestFile:
    def test_names_only_what_differs(self, settings, write):
        write("production", "name: production\ndrift_detector: {threshold: 0.2}\n")
        described = Stack.describe("production", settings=settings)
        assert described["drift_detector"] == {"flavor": "statistical", "threshold": 0.2}
        assert described["artifact_store"] == {"flavor": "local"}
        assert described["compute"] == {"default": "local", "local": {"flavor": "local"}}

    def test_a_flavor_alone_is_short_for_a_mapping(self, settings, write):
        write("short", "deployer: sagemaker\n")
        assert Stack.describe("short", settings=settings)["deployer"] == {"flavor": "sagemaker"}

    def test_compute_has_names(self, settings, write):
        write("c", "compute:\n  default: big\n  big: {flavor: local}\n  kubernetes: {namespace: ml}\n")
        stack = Stack.load("c", settings=settings)
        assert type(stack.compute()).__name__ == "LocalCompute"
        assert stack.compute("big") is stack.compute()
        assert stack.description["compute"]["kubernetes"] == {"flavor": "kubernetes", "namespace": "ml"}

    def test_describing_imports_no_component(self, settings, write):
        write("far", "deployer: {flavor: not.there:Anywhere}\n")
        assert Stack.describe("far", settings=settings)["deployer"]["flavor"] == "not.there:Anywhere"
        Stack.load("far", settings=settings)

    def test_a_change_is_seen(self, settings, write):
        path = write("s", "deployer: {flavor: local, port: 1001}\n")
        assert Stack.describe("s", settings=settings)["deployer"]["port"] == 1001
        path.write_text("deployer: {flavor: local, port: 10002}\n")
        assert Stack.describe("s", settings=settings)["deployer"]["port"] == 10002

    def test_names(self, settings, write):
        write("production", "")
        write("staging", "")
        assert Stack.names(settings) == ["local", "production", "staging"]

    def test_a_name_is_no_path(self, settings, tmp_path, write):
        (tmp_path / "secret.yaml").write_text("deployer: local\n")
        with pytest.raises(StackNotFound):
            Stack.load("../secret", settings=settings)


WRONG = [
    ("deployr: local", 'line 1: "deployr" is no kind', 'Did you mean "deployer"?'),
    ("name: bad\n\ndeployer: {flavor: local\n", "line 4: this is not YAML", "Check the indentation"),
    ("deployer: local\ndeployer: local\n", 'line 2: "deployer" stands twice, first on line 1', "remove one"),
    ("- deployer", "line 1: a stack is a mapping", ""),
    ("alerter:\n  team: growth\n", 'line 1: alerter has no "flavor"', "{flavor: local}"),
    ("name: other", 'line 1: the file is called "bad"', "Let both be the same"),
    ("name: bad\nalerter: 3", "line 2: alerter is a flavor or a mapping", ""),
    ("compute:\n  default: kubernetes\n", 'line 2: compute "kubernetes" is not defined', "Known: local"),
    ("compute: [a]", "line 1: compute is a mapping", ""),
    ("a: \x00", "this is not YAML", ""),
    ("[" * 100_000, "nested too deeply", "flatter"),
]


class TestMistakes:
    @pytest.mark.parametrize(("text", "message", "hint"), WRONG)
    def test_in_the_file_name_file_and_line(self, settings, write, text, message, hint):
        path = write("bad", text)
        with pytest.raises(StackInvalid) as caught:
            Stack.load("bad", settings=settings)
        assert str(path) in caught.value.message
        assert message in caught.value.message
        assert hint in (caught.value.hint or "")

    def test_in_an_option_name_the_line_of_that_option(self, settings, write):
        path = write("bad", "name: bad\nartifact_store:\n  flavor: local\n  pathh: /tmp\n")
        with pytest.raises(ComponentInvalid) as caught:
            _ = Stack.load("bad", settings=settings).artifact_store
        assert caught.value.message.startswith(f"{path}, line 4: ")
        assert '"pathh" is not an option. Did you mean "path"?' in caught.value.message

    def test_in_a_flavor_name_its_line(self, settings, write):
        path = write("bad", "name: bad\ndeployer:\n  flavor: locale\n")
        with pytest.raises(FlavorNotFound) as caught:
            _ = Stack.load("bad", settings=settings).deployer
        assert f"({path}, line 3)" in caught.value.message
        assert 'Did you mean "local"?' in caught.value.hint

    def test_an_unknown_stack(self, settings, write):
        write("production", "")
        with pytest.raises(StackNotFound) as caught:
            Stack.load("produktion", settings=settings)
        assert 'Did you mean "production"?' in caught.value.hint

    def test_a_component_that_the_stack_does_not_have(self, settings):
        with pytest.raises(StackInvalid, match='Stack "local" has no alerter'):
            Stack.load("local", settings=settings).component("alerter")


class TestComponents:
    def test_are_built_once_by_many_threads(self, settings, write, user_module):
        write("s", f"alerter: {user_module}:Slow\n")
        stack = Stack.load("s", settings=settings)
        barrier, found = threading.Barrier(8), []

        def ask():
            barrier.wait()
            found.append(stack.component("alerter"))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({id(component) for component in found}) == 1
        assert len(sys.modules[user_module].built) == 1

    def test_the_registry_works_on_the_stacks_own_database(self, settings, write, tmp_path):
        write("s", f"metadata_store: {{flavor: sql, url: 'sqlite:///{tmp_path}/other.db'}}\n")
        stack = Stack.load("s", settings=settings)
        assert stack.model_registry.metadata is stack.metadata
        assert "other.db" in stack.metadata.url


class TestMetadataConnection:
    @pytest.fixture
    def stack(self, settings, write):
        def make(connection):
            write("pg", "metadata_store: {flavor: sql, connection: my_pg}\n")
            environ = {} if connection is None else {"AIRFLOW_CONN_MY_PG": connection}
            return Stack.load("pg", settings=settings, credentials=EnvironmentCredentials(environ))

        return make

    def test_gives_the_url_with_every_character_of_the_password(self, stack):
        from sqlalchemy import make_url

        found = stack("postgres://ml:p%40ss%2Fw%3Ard@db.example.com:5433/windsock?sslmode=require")
        url = make_url(found.component("metadata_store").url())
        assert (url.username, url.password, url.host, url.port) == ("ml", "p@ss/w:rd", "db.example.com", 5433)
        assert (url.database, url.query["sslmode"], url.drivername) == ("windsock", "require", "postgresql+psycopg")

    @pytest.mark.parametrize(
        ("fields", "url"),
        [
            ('"host": "db", "login": "ml", "schema": "windsock"', "postgresql+psycopg://ml@db/windsock"),
            ('"host": "/data/w.db", "extra": {"dialect": "sqlite"}', "sqlite:////data/w.db"),
        ],
    )
    def test_of_windsocks_own_type_says_which_database_it_is(self, stack, fields, url):
        found = stack(f'{{"conn_type": "windsock", {fields}}}')
        assert found.component("metadata_store").url() == url

    def test_shows_the_password_nowhere(self, stack):
        found = stack("postgres://ml:hunter2@127.0.0.1:1/windsock")
        component = found.component("metadata_store")
        shown = [repr(found), repr(component), repr(component.config), str(found.description)]
        shown += [str(row) for row in found.check() if row.kind == "metadata_store"]
        assert not [text for text in shown if "hunter2" in text]

    def test_that_is_missing(self, stack):
        with pytest.raises(ConnectionNotFound, match="my_pg"):
            _ = stack(None).metadata

    def test_of_a_type_that_is_no_database(self, stack):
        with pytest.raises(ComponentInvalid, match='of type "aws", which is no database'):
            _ = stack("aws://").metadata

    def test_to_a_real_postgresql(self, stack, postgres_database):
        from windsock.provider.metadata.migrate import upgrade

        found = stack(postgres_database())
        before = {row.kind: row.result for row in found.check()}["metadata_store"]
        assert not before.ok
        assert before.hint == "Run: windsock db upgrade"
        upgrade(found.component("metadata_store").url())
        after = {row.kind: row.result for row in found.check()}["metadata_store"]
        assert after.ok, after
        assert list(found.metadata.audit.list()) == []  # the row of the check was rolled back


class TestCheck:
    def test_one_failure_leaves_the_others_alone(self, settings, write, user_module):
        write("s", f"alerter: {user_module}:Rude\n")
        rows = {row.kind: row.result for row in Stack.load("s", settings=settings).check()}
        assert rows["alerter"].detail == "RuntimeError: boom"
        assert rows["artifact_store"].ok
        assert rows["metadata_store"].ok

    def test_one_that_never_answers_is_a_row_and_no_hang(self, settings, write, user_module):
        write("s", f"alerter: {user_module}:Stuck\n")
        began = time.monotonic()
        rows = {row.kind: row.result for row in Stack.load("s", settings=settings).check(timeout=3)}
        assert time.monotonic() - began < 6
        assert rows["alerter"].detail == "no answer within 3 s"
        assert rows["artifact_store"].ok

    def test_a_database_that_is_down(self, settings, write):
        write("s", "metadata_store: {flavor: sql, url: 'postgresql://ml@127.0.0.1:1/windsock'}\n")
        rows = {row.kind: row.result for row in Stack.load("s", settings=settings).check()}
        assert not rows["metadata_store"].ok
        assert not rows["model_registry"].ok
        assert rows["artifact_store"].ok

    def test_a_broken_file_is_an_error_and_not_a_row(self, settings, write):
        write("s", "deployr: local\n")
        with pytest.raises(WindsockError):
            Stack.load("s", settings=settings).check()


class TestUnnamed:
    def test_a_data_validator_is_there_for_who_asks(self, settings):
        stack = Stack.load("local", settings=settings)
        assert stack.component("data_validator").kind == "data_validator"
        assert "data_validator" not in dict(stack.parts())

    def test_settings_show_no_password(self, settings):
        from dataclasses import replace

        assert "hunter2" not in repr(replace(settings, sql_alchemy_conn="postgresql://ml:hunter2@db/x"))
