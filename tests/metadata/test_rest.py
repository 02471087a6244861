"""What only the way over HTTP can get wrong. That the nouns answer over it as they do without is asked by every test
of this folder that takes ``metadata``."""

from __future__ import annotations

import gzip
import inspect
import os
import statistics
import threading
import time
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest
from cut_proxy import CutProxy
from metadata_lab import Lab, new_artifact
from rest_lab import TOKENS, RestServer, serving
from servers import free_port
from windsock.provider import errors
from windsock.provider.cli.main import main
from windsock.provider.cli.session import Session
from windsock.provider.errors import (
    MetadataError,
    MetadataUnavailable,
    NotPermitted,
    PromotionConflict,
    SettingInvalid,
    TokenInvalid,
    WindsockError,
)
from windsock.provider.metadata import (
    Deployment,
    Metadata,
    MetricPoint,
    NewDriftReport,
    NewModelVersion,
    StepFinish,
    StepStart,
)
from windsock.provider.metadata.performance import NewPerformanceReport
from windsock.provider.metadata.rest import codec, http, service
from windsock.provider.metadata.rest.access import Caller, Task
from windsock.provider.metadata.rest.client import RestMetadata
from windsock.provider.metadata.rest.http import HttpClient
from windsock.provider.metadata.rest.methods import LOCAL, LOCAL_NOUNS, METHODS, READ, find_method, noun_class
from windsock.provider.runtime.spool import Spool
from windsock.provider.security.credentials import EnvironmentCredentials
from windsock.provider.security.tokens import EnvironmentToken
from windsock.provider.settings import Settings
from windsock.provider.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'metadata.db'}"


@pytest.fixture
def direct(database: str) -> Iterator[Metadata]:
    metadata = Metadata.open(database)
    yield metadata
    metadata.close()


@pytest.fixture
def proxy(rest_server: RestServer) -> Iterator[CutProxy]:
    with CutProxy(rest_server.port) as proxy:
        yield proxy


@pytest.fixture
def over(rest_server: RestServer, proxy: CutProxy, database: str, direct: Metadata) -> Iterator[RestMetadata]:
    """The metadata over REST, through the proxy."""
    metadata = RestMetadata(HttpClient(proxy.url), TOKENS, stack=rest_server.stack(database))
    yield metadata
    metadata.close()


class TestAllowList:
    def test_every_noun_is_named(self) -> None:
        nouns = {name for name, value in vars(Metadata).items() if isinstance(value, cached_property)}
        assert nouns == METHODS.keys() | LOCAL_NOUNS

    @pytest.mark.parametrize("noun", METHODS)
    def test_every_method_is_named(self, noun: str) -> None:
        """A new method travels when it stands in METHODS, and stays with the database when it stands in LOCAL."""
        methods = {name for name, _ in inspect.getmembers(noun_class(noun), inspect.isfunction) if name[0] != "_"}
        assert methods == METHODS[noun].keys() | LOCAL.get(noun, frozenset())
        assert not METHODS[noun].keys() & LOCAL.get(noun, frozenset())

    @pytest.mark.parametrize(("noun", "name"), [(noun, name) for noun in METHODS for name in METHODS[noun]])
    def test_signatures_can_travel(self, noun: str, name: str) -> None:
        method = find_method(noun, name)
        assert method.arguments.model_fields.keys() == method.signature.parameters.keys() - {"self"}
        assert method.answer is not None

    @pytest.mark.parametrize("path", ["models/_log", "models/__init__", "database/write", "models/registre"])
    def test_nothing_else_can_be_called(self, direct: Metadata, path: str) -> None:
        with pytest.raises(NotPermitted, match="cannot be called over REST"):
            service.answer(direct, Caller("service", "me"), *path.split("/"), b"{}")

    def test_what_stays_with_the_database_says_so(self, over: RestMetadata) -> None:
        with pytest.raises(MetadataError, match=r"audit.verify needs the metadata database itself"):
            over.audit.verify()
        with pytest.raises(MetadataError, match=r"needs the metadata database itself"):
            _ = over.bulk
        with pytest.raises(MetadataError, match=r"cannot be one transaction over REST"):
            over.transaction()


def report(**facts: Any) -> NewDriftReport:
    at = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return NewDriftReport(
        model="churn", version=1, rows=9, drifted=True, drift_share=0.5, window_start=at, window_end=at, **facts
    )


def deployment(**facts: Any) -> Deployment:
    return Deployment(name="churn", model="churn", version=1, phase="ready", flavor="local", **facts)


class World:
    """Something of everything, the same in each database."""

    def __init__(self, metadata: Metadata) -> None:
        lab = Lab(metadata)
        self.start = lab.start()
        self.artifact = metadata.artifacts.record(new_artifact("churn.model", "first"))
        for version in (1, 2, 3):
            metadata.models.register(
                NewModelVersion(model="churn", artifact=self.artifact.ref(), source=f"world {version}")
            )
        metadata.models.set_alias("churn", "production", 1, actor="carol")
        metadata.deployments.put(deployment(), expected_revision=None, actor="carol")
        metadata.drift.record(report(edges_id="world"))


WRITES: dict[str, Callable[[Metadata, World], Any]] = {
    "pipelines.register": lambda m, _: m.pipelines.register("churn", digest="d", spec={"a": 1}, source_digest="s"),
    "runs.start_step": lambda m, w: m.runs.start_step(w.start.model_copy(update={"task_id": "other"})),
    "runs.finish_step": lambda m, w: m.runs.finish_step(
        StepFinish(start=w.start, state="success", metrics={"a": 1.0}, outputs=[new_artifact(content="made")])
    ),
    "runs.end": lambda m, w: m.runs.end(w.start.dag_id, w.start.run_id, "success"),
    "artifacts.record": lambda m, _: m.artifacts.record(new_artifact(content="recorded")),
    "models.register": lambda m, w: m.models.register(NewModelVersion(model="churn", artifact=w.artifact.ref())),
    "models.set_alias": lambda m, _: m.models.set_alias("churn", "production", 2, expected=1, actor="carol"),
    "models.remove_alias": lambda m, _: m.models.remove_alias("churn", "production", expected=1, actor="carol"),
    "models.archive": lambda m, _: m.models.archive("churn", 3, "carol"),
    "deployments.put": lambda m, _: m.deployments.put(deployment(url="http://x/"), expected_revision=1, actor="carol"),
    "deployments.delete": lambda m, _: m.deployments.delete("churn", expected_revision=1, actor="carol"),
    "drift.record": lambda m, _: m.drift.record(report(edges_id="again")),
    "drift.claim": lambda m, _: m.drift.claim(1, "retraining", cooldown=timedelta(hours=1)),
    "performance.record": lambda m, _: m.performance.record(
        NewPerformanceReport(model="churn", version=1, rows=9, labelled=5, mature=False, metrics={"realised": {}})
    ),
    "audit.append": lambda m, _: m.audit.append("carol", "look", "model", "churn"),
}
"""Every method that writes, doing something once."""


def content(metadata: Metadata) -> dict[str, Any]:
    """What a database holds, without its times and what follows from them."""
    events = metadata.audit.list(limit=500)
    return {
        "audit": [(e.actor, e.action, e.subject, e.before, e.after) for e in events],
        "artifacts": [(a.artifact, a.version, a.digest) for a in metadata.artifacts.list(limit=500)],
        "versions": [(v.version, v.state) for v in metadata.models.versions("churn", limit=500)],
        "aliases": {a.alias: (a.version, a.revision) for a in metadata.models.aliases("churn").values()},
        "moves": [(e.from_version, e.to_version) for e in metadata.models.history("churn")],
        "deployments": [(d.name, d.revision, d.url) for d in metadata.deployments.list()],
        "changes": [(e.action, e.actor) for e in metadata.deployments.history("churn")],
        "drift": [(r.id, r.edges_id, metadata.drift.claimable(r.id, "retraining")) for r in metadata.drift.list()],
        "performance": [(r.id, r.rows, r.labelled) for r in metadata.performance.list()],
        "pipelines": [(p.pipeline, p.number) for p in metadata.pipelines.list()],
        "steps": [
            (s.step, s.task_id, s.state, s.metrics, len(metadata.runs.outputs(s.id)))
            for run in metadata.runs.list()
            for s in metadata.runs.steps(run.id)
        ],
    }


class TestAConnectionCutAfterTheCommit:
    def test_this_table_names_every_method_that_writes(self) -> None:
        writes = {f"{noun}.{name}" for noun, table in METHODS.items() for name in table if table[name].scope != READ}
        assert writes == WRITES.keys()

    @pytest.mark.parametrize("name", WRITES)
    def test_nothing_happens_twice(
        self, name: str, over: RestMetadata, direct: Metadata, proxy: CutProxy, tmp_path: Path
    ) -> None:
        """The client asks three times, and the world is as if it had asked once."""
        other = Metadata.open(f"sqlite:///{tmp_path / 'other.db'}")
        expected = WRITES[name](other, World(other))
        world = World(direct)
        before = content(direct)
        proxy.cuts = 2
        answer = WRITES[name](over, world)
        assert proxy.cuts == 0
        assert len(proxy.requests) == 3
        assert len(set(proxy.keys)) == 1
        assert (proxy.keys[0] is not None) == find_method(*name.split(".")).access.once
        assert content(direct) == content(other) != before
        assert type(answer) is type(expected)
        if isinstance(answer, bool):
            assert answer is expected is True

    def test_the_second_answer_is_the_first(self, over: RestMetadata, direct: Metadata, proxy: CutProxy) -> None:
        World(direct)
        proxy.cuts = 1
        alias = over.models.set_alias("churn", "production", 2, expected=1, actor="carol", reason="better")
        assert alias == direct.models.aliases("churn")["production"]

    def test_a_conflict_is_still_one(self, over: RestMetadata, direct: Metadata, proxy: CutProxy) -> None:
        World(direct)
        proxy.cuts = 1
        with pytest.raises(PromotionConflict) as caught:
            over.models.set_alias("churn", "production", 3, expected=2, actor="carol")
        assert (caught.value.expected, caught.value.current) == (2, 1)
        assert (caught.value.hint or "").endswith("windsock model show churn")

    def test_a_key_is_for_one_method_and_must_be_one(self, direct: Metadata) -> None:
        World(direct)
        caller, key = Caller("service", "me"), "0" * 32
        body = codec.encode_arguments({"actor": "me", "action": "a", "subject_kind": "k", "subject": "s"})
        for _ in range(2):
            assert service.answer(direct, caller, "audit", "append", body, key=key) == b"null"
        assert [event.action for event in direct.audit.list()].count("a") == 1
        with pytest.raises(MetadataError, match=r"was used for audit.append"):
            service.answer(direct, caller, "deployments", "delete", b'{"name": "churn"}', key=key)
        for wrong in (None, "", "0" * 31, "../" * 11):
            with pytest.raises(MetadataError, match=r"without a key"):
                service.answer(direct, caller, "audit", "append", body, key=wrong)


class TestConnections:
    def test_one_is_used_again_and_again(self, over: RestMetadata, proxy: CutProxy) -> None:
        for _ in range(20):
            over.models.list()
        assert (proxy.connections, len(proxy.requests)) == (1, 20)

    def test_one_that_was_closed_while_idle_is_replaced(self, over: RestMetadata, proxy: CutProxy) -> None:
        proxy.closes = True
        for _ in range(5):
            over.models.list()
        assert proxy.connections == 5

    def test_threads_share_the_pool_and_not_a_connection(self, over: RestMetadata, proxy: CutProxy) -> None:
        failures: list[Exception] = []

        def ask() -> None:
            try:
                for _ in range(10):
                    assert over.models.list().items == ()
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert proxy.connections <= 4

    def test_a_forked_child_opens_its_own(self, over: RestMetadata, proxy: CutProxy) -> None:
        over.models.list()
        child = os.fork()
        if child == 0:
            os._exit(0 if over.models.list().items == () else 1)
        assert os.waitpid(child, 0)[1] == 0
        over.models.list()
        assert proxy.connections == 2

    def test_a_server_that_is_away_is_waited_for(self, rest_server: RestServer, database: str) -> None:
        proxy = CutProxy(rest_server.port)
        port = proxy.port
        proxy.__exit__()
        metadata = RestMetadata(HttpClient(f"http://127.0.0.1:{port}/windsock"), TOKENS)
        metadata._query = f"?stack={rest_server.stack(database)}"

        def come_back() -> None:
            import socket

            proxy._listener = socket.create_server(("127.0.0.1", port))
            proxy.__enter__()

        timer = threading.Timer(0.7, come_back)
        timer.start()
        began = time.monotonic()
        assert metadata.models.list().items == ()
        assert time.monotonic() - began >= 0.6
        timer.join()
        proxy.__exit__()

    def test_a_server_that_stays_away_is_an_error_that_names_it(self) -> None:
        url = f"http://127.0.0.1:{free_port()}/windsock"
        metadata = RestMetadata(HttpClient(url, patience=0.3), TOKENS)
        with pytest.raises(MetadataUnavailable, match=f"API server at {url} does not answer") as caught:
            metadata.models.list()
        assert "[windsock] api_url" in (caught.value.hint or "")

    def test_something_else_at_that_address(self, rest_server: RestServer) -> None:
        metadata = RestMetadata(HttpClient(f"http://127.0.0.1:{rest_server.port}/elsewhere"), TOKENS)
        with pytest.raises(MetadataError, match=r"has no metadata calls of version 1 \(404\)"):
            metadata.models.list()

    def test_a_password_in_the_address_is_not_shown(self) -> None:
        client = HttpClient("http://bob:hunter2@127.0.0.1:1/windsock", patience=0)
        with pytest.raises(MetadataUnavailable) as caught:
            client.post("/x", b"", dict)
        assert "hunter2" not in str(caught.value) + repr(caught.value.facts)

    def test_an_address_that_is_none(self) -> None:
        with pytest.raises(SettingInvalid, match="is no URL of an API server"):
            HttpClient("airflow.example.com")


@pytest.mark.skipif(http._QUICKACK is None, reason="TCP_QUICKACK is Linux's")
class TestSeveralWorkers:
    def test_a_call_does_not_stall(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two workers on asyncio's own loop, as ``airflow api-server --workers 2`` without uvloop."""
        with serving(tmp_path, app="empty", workers=2, loop="asyncio") as server:
            metadata = RestMetadata(HttpClient(server.url, patience=60), TOKENS)

            def median(calls: int) -> float:
                metadata.close()
                seconds = []
                for _ in range(calls):
                    began = time.perf_counter()
                    metadata.models.list()
                    seconds.append(time.perf_counter() - began)
                return statistics.median(seconds)

            median(20)
            usual = median(50)
            monkeypatch.setattr(http, "_QUICKACK", None)
            assert median(8) > 0.035, "the server does not stall any more: is TCP_QUICKACK still needed?"
            assert usual < 0.02


class TestBodies:
    def test_a_big_one_is_compressed_both_ways(
        self, over: RestMetadata, direct: Metadata, proxy: CutProxy, database: str
    ) -> None:
        start = Lab(direct).start()
        points = [MetricPoint(key="loss", value=i / 7, step=i) for i in range(20_000)]
        over.runs.finish_step(StepFinish(start=start, state="success", metrics=points))
        assert len(proxy.requests[-1]) < 300_000 < len(codec.encode_arguments({"metrics": points}))
        assert [point.value for point in over.runs.metrics(start.key)] == [point.value for point in points]

    def test_one_that_unpacks_to_more_than_the_limit(self) -> None:
        with pytest.raises(MetadataError, match="at most 64 MiB"):
            codec.unpack(gzip.compress(bytes(codec.LIMIT + 1), 1))
        with pytest.raises(MetadataError, match="and it is not"):
            codec.unpack(b"not gzip")

    def test_arguments_that_do_not_fit(self, direct: Metadata) -> None:
        for body in (b"{", b"[]", b'{"model": 3}', b'{"model": "m", "verison": 1}'):
            with pytest.raises(MetadataError, match=r"models.get was called over REST with arguments that it does not"):
                service.answer(direct, Caller("service", "me"), "models", "get", body)

    def test_every_error_arrives_as_it_was(self) -> None:
        def below(kind: type[WindsockError]) -> set[type[WindsockError]]:
            return {kind}.union(*(below(one) for one in kind.__subclasses__()))

        kinds = {kind for kind in below(WindsockError) if kind.__module__ == errors.__name__}
        assert PromotionConflict in kinds
        for kind in kinds:
            sent = kind("no", hint="do this", model="churn", versions=[1, 2], secret=object(), url="postgresql://x")
            got = codec.decode_error(codec.encode_error(sent))
            assert type(got) is kind
            assert isinstance(got, WindsockError)
            assert (got.message, got.hint, got.facts) == ("no", "do this", {"model": "churn", "versions": [1, 2]})
        assert isinstance(codec.decode_error(codec.encode_error(ValueError("naive"))), ValueError)
        assert codec.decode_error({"error": "SystemExit"}) is None
        assert codec.decode_error({"error": "did_you_mean"}) is None


OWN = Task("churn", "r1", "train", -1, 1)


class TestWhatIsTheirs:
    """Of a task, and of a person, in the process of the server."""

    @pytest.fixture
    def lab(self, direct: Metadata) -> Lab:
        return Lab(direct)

    def call(self, metadata: Metadata, caller: Caller, path: str, **arguments: Any) -> bytes:
        noun, name = path.split(".")
        body = codec.encode_arguments(arguments)
        return service.answer(metadata, caller, noun, name, body, key=os.urandom(16).hex())

    def task(self, *scopes: str) -> Caller:
        rights = frozenset(scopes) if scopes else Caller("task", "").scopes
        return Caller("task", f"task {OWN}", rights, "user:alice", OWN)

    @pytest.mark.parametrize("changed", [{"run_id": "r2"}, {"dag_id": "d"}, {"run_id": "local__1"}])
    def test_its_run_is_its_own(self, direct: Metadata, changed: dict[str, Any]) -> None:
        own = StepStart(dag_id="churn", run_id="r1", task_id="train", step="train")
        self.call(direct, self.task(), "runs.start_step", start=own)
        other = own.model_copy(update=changed)
        with pytest.raises(NotPermitted, match="it is not its own"):
            self.call(direct, self.task(), "runs.start_step", start=other)
        with pytest.raises(NotPermitted, match="it is not its own"):
            self.call(direct, self.task(), "runs.finish_step", finish=StepFinish(start=other, state="failed"))
        with pytest.raises(NotPermitted, match="it is not its own"):
            self.call(direct, self.task(), "runs.end", dag_id=other.dag_id, run_id=other.run_id, state="failed")

    def test_it_names_no_foreign_producer(self, direct: Metadata, lab: Lab) -> None:
        mine, theirs = lab.start(run="r1"), lab.start(run="r2")
        sibling = lab.start("evaluate", run="r1")
        for key in (mine.key, sibling.key):
            self.call(direct, self.task(), "artifacts.record", new=new_artifact(), producer=key)
        for key in (theirs.key, "0" * 32):
            with pytest.raises(NotPermitted, match=f"producer {key}"):
                self.call(direct, self.task(), "artifacts.record", new=new_artifact(), producer=key)

    def test_it_registers_under_its_own_run_and_name(self, direct: Metadata, lab: Lab) -> None:
        mine, theirs = lab.start(run="r1"), lab.start(run="r2")
        ref = direct.artifacts.record(new_artifact("churn.model")).ref()
        self.call(
            direct, self.task(), "models.register", new=NewModelVersion(model="churn", artifact=ref, run=mine.run_key)
        )
        assert direct.models.get("churn").created_by == "user:alice"
        for facts in ({"run": theirs.run_key}, {"step_run": theirs.key}):
            with pytest.raises(NotPermitted, match="it is not its own"):
                self.call(
                    direct, self.task(), "models.register", new=NewModelVersion(model="churn", artifact=ref, **facts)
                )

    def test_history_names_whom_the_server_knows(self, direct: Metadata, lab: Lab) -> None:
        lab.model()
        for alias, said in (("a", "user:alice"), ("b", "dag:churn"), ("c", "user:bob")):
            self.call(direct, self.task(), "models.set_alias", model="churn", alias=alias, version=1, actor=said)
        actors = {event.alias: event.actor for event in direct.models.history("churn")}
        assert actors == {"a": "user:alice", "b": "dag:churn", "c": "user:bob (said by churn.train)"}

    def test_rights_are_narrow(self, direct: Metadata, lab: Lab) -> None:
        lab.model()
        reader = self.task(READ)
        assert b'"version":1' in self.call(direct, reader, "models.get", model="churn")
        world = World(direct)
        for path, write in WRITES.items():
            with pytest.raises(NotPermitted, match=f"may not call {path}"):
                write(_Remote(direct, reader), world)

    def test_it_leaves_in_the_spool_what_is_not_its_own(self, direct: Metadata, tmp_path: Path) -> None:
        settings = Settings.load({"home": str(tmp_path / "home")}, environ={})
        spool = Spool.of(Stack.load("local", settings=settings))
        assert spool is not None
        for run in ("r1", "r2"):
            start = StepStart(dag_id="churn", run_id=run, task_id="train", step="train")
            spool.append("start", start.run_key, start)
        done = spool.replay(_Remote(direct, self.task()))
        assert (done.recorded, len(done.waiting), done.refused) == (1, 1, [])
        assert direct.runs.find("churn", "r2") is None
        done = spool.replay(_Remote(direct, Caller("service", "the scheduler", frozenset({READ, "steps"}))))
        assert (done.recorded, done.waiting, done.refused) == (1, [], [])
        assert direct.runs.get("churn", "r2").state == "running"

    def test_a_person_writes_local_runs_only(self, direct: Metadata) -> None:
        person = Caller("user", "bob", actor="user:bob")
        local = StepStart(dag_id="churn", run_id="local__1", task_id="train", step="train")
        self.call(direct, person, "runs.start_step", start=local)
        self.call(direct, person, "runs.end", dag_id="churn", run_id="local__1", state="success")
        with pytest.raises(NotPermitted, match="it is not its own"):
            self.call(direct, person, "runs.start_step", start=local.model_copy(update={"run_id": "manual__1"}))
        self.call(direct, person, "audit.append", actor="user:alice", action="a", subject_kind="k", subject="s")
        assert direct.audit.list()[0].actor == "user:bob"


class TestSettings:
    def test_a_stack_is_told_by_the_process_how_to_reach_its_metadata(
        self, rest_server: RestServer, tmp_path: Path
    ) -> None:
        name = rest_server.stack(f"sqlite:///{tmp_path / 'metadata.db'}")
        options = {
            "home": str(tmp_path / "home"),
            "metadata_transport": "rest",
            "api_url": rest_server.url,
            "stacks_folder": str(rest_server.stacks),
        }
        stack = Stack.load(name, settings=Settings.load(options, environ={}), credentials=_Token())
        assert isinstance(stack.metadata, RestMetadata)
        Lab(stack.metadata).model("flowers")
        assert stack.model_registry.get("flowers").version == 1
        check = next(one for one in stack.check() if one.kind == "metadata_store")
        assert (check.flavor, check.result.ok) == ("rest", True)
        assert Metadata.open(f"sqlite:///{tmp_path / 'metadata.db'}").models.get("flowers").version == 1
        assert not (tmp_path / "home" / "windsock.db").exists()

    def test_the_command_line_over_rest(
        self, rest_server: RestServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A person's own commands need no database either; what needs it says so."""
        database = f"sqlite:///{tmp_path / 'metadata.db'}"
        Lab(Metadata.open(database)).model("flowers")
        name = rest_server.stack(database)
        options = {
            "home": str(tmp_path / "home"),
            "metadata_transport": "rest",
            "api_url": rest_server.url,
            "stacks_folder": str(rest_server.stacks),
            "stack": name,
        }
        here = Session(given_settings=Settings.load(options, environ={"USER": "ann"}), credentials=_Token())
        assert main(["model", "show", "flowers"], session=here) == 0
        assert main(["artifact", "show", "flowers.model"], session=here) == 0
        assert main(["model", "promote", "flowers", "--version", "1", "--to", "production"], session=here) == 0
        assert Metadata.open(database).models.aliases("flowers")["production"].version == 1
        capsys.readouterr()
        assert main(["db", "check"], session=here) == 1
        assert "here the metadata is reached over REST" in capsys.readouterr().err

    def test_without_an_address(self, tmp_path: Path) -> None:
        settings = Settings.load({"home": str(tmp_path), "metadata_transport": "rest"}, environ={})
        with pytest.raises(SettingInvalid, match="nothing says where the API server is"):
            _ = Stack.load("local", settings=settings).metadata

    def test_an_unknown_transport(self) -> None:
        with pytest.raises(SettingInvalid, match="neither sql nor rest"):
            Settings.load({"metadata_transport": "grpc"}, environ={})

    def test_without_a_token(self, rest_server: RestServer) -> None:
        metadata = RestMetadata(HttpClient(rest_server.url), EnvironmentToken({}))
        with pytest.raises(TokenInvalid, match="WINDSOCK_API_TOKEN is not set"):
            metadata.models.list()


class _Token(EnvironmentCredentials):
    def tokens(self, url: str, ca_file: str | None = None) -> EnvironmentToken:
        return TOKENS


class _Remote(RestMetadata):
    """Calls the service without a server between."""

    def __init__(self, metadata: Metadata, caller: Caller) -> None:
        self._metadata = metadata
        self._caller = caller

    def call(self, method: Any, arguments: dict[str, Any]) -> Any:
        body, key = codec.encode_arguments(arguments), os.urandom(16).hex()
        answer = service.answer(self._metadata, self._caller, method.noun, method.name, body, key=key)
        return method.answer.validate_json(answer)
