"""Hostile stored objects are refused: nothing outside the allow-list is named, called, created or changed.

Each payload is written by hand or by pickle itself, and wrapped as a stored object with a *correct* digest, as if the
attacker could write the metadata, too. Those that run commands would create a file.
"""

from __future__ import annotations

import builtins
import functools
import os
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from windsock.provider.artifacts.digests import HashingFile, digest_bytes
from windsock.provider.artifacts.materializers import restore
from windsock.provider.artifacts.materializers.objects import loads
from windsock.provider.artifacts.materializers.oob import MAGIC, read_buffers, write_buffers
from windsock.provider.artifacts.saving import load, save
from windsock.provider.artifacts.store import object_key
from windsock.provider.errors import ArtifactCorrupted, MaterializerNotFound, PickleRefused

REFUSED = (PickleRefused, ArtifactCorrupted)


class Call:
    """Reduces to a call of ``function``, whatever the unpickler makes of it."""

    def __init__(self, function, *arguments, state=None):
        self.reduction = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.reduction


def name(module: str, qualname: str) -> bytes:
    """Push ``module.qualname`` (protocol 4), dots and all."""
    return text(module) + text(qualname) + pickle.STACK_GLOBAL


def text(value: str) -> bytes:
    data = value.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(data)) + data


def program(*parts: bytes) -> bytes:
    return pickle.PROTO + b"\x05" + b"".join(parts) + pickle.STOP


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + pickle.MARK + b"".join(arguments) + pickle.TUPLE + pickle.REDUCE


def hostile(marker: str):
    command = f"touch {marker}"
    code = f"open({marker!r}, 'w').close()"
    estimator = name("sklearn.svm._classes", "SVC") + pickle.EMPTY_TUPLE + pickle.NEWOBJ
    return {
        "os.system": pickle.dumps(Call(os.system, command), 5),
        "subprocess": pickle.dumps(Call(subprocess.Popen, ["touch", marker]), 5),
        "eval": pickle.dumps(Call(builtins.eval, code), 5),
        "exec": pickle.dumps(Call(builtins.exec, code), 5),
        "open": pickle.dumps(Call(builtins.open, marker, "w"), 5),
        "__import__": pickle.dumps(Call(builtins.__import__, "antigravity"), 5),
        "getattr chain": program(
            call(call(name("builtins", "getattr"), name("os", "path"), text("os")), text("system")),
        ),
        "dotted name through a module": program(call(name("sklearn.base", "os.system"), text(command))),
        "dotted name through a class": program(
            call(name("sklearn.svm._classes", "SVC.__init__.__globals__.__getitem__"), text("os"))
        ),
        "a module's import": program(call(name("sklearn.utils", "os"), text(command))),
        "old GLOBAL opcode": b"cos\nsystem\n" + pickle.MARK + text(command) + pickle.TUPLE + pickle.REDUCE + b".",
        "old INST opcode": pickle.MARK + text(command) + b"ios\nsystem\n" + b".",
        "old OBJ opcode": program(pickle.MARK, name("sklearn.svm._classes", "SVC"), text(command), pickle.OBJ),
        "persistent id": program(text(command), pickle.BINPERSID),
        "extension registry": program(pickle.EXT1 + b"\x01"),
        "numpy ufunc import": program(call(name("numpy._core", "_ufunc_reconstruct"), text("os"), text("system"))),
        "numpy runstring": program(
            call(name("numpy.testing._private.utils", "runstring"), text(code), pickle.EMPTY_DICT)
        ),
        "numpy load of a pickle": program(call(name("numpy", "load"), text(marker))),
        "numpy fromfunction": program(call(name("numpy", "fromfunction"), name("numpy", "mean"), text("x"))),
        "a call of what may only be referred to": program(call(name("numpy", "mean"), text(command))),
        "numpy memmap truncates": program(call(name("numpy", "memmap"), text(marker), text("u1"), text("w+"))),
        "numpy dtype in place": program(call(name("numpy", "dtype"), text("f8"))),
        "joblib load": program(call(name("joblib.numpy_pickle", "load"), text(marker))),
        "joblib in sklearn": program(call(name("sklearn.utils._joblib", "load"), text(marker))),
        "sklearn parallel": program(call(name("sklearn.utils.parallel", "Parallel"))),
        "sklearn fetch": program(call(name("sklearn.datasets._base", "load_files"), text("/etc"))),
        "scipy distribution exec": pickle.dumps(stats.uniform, 5),
        "partial of a command, called": program(
            call(call(name("functools", "partial"), name("os", "system"), text(command)))
        ),
        "partial that is called": program(call(call(name("functools", "partial"), name("numpy", "mean")), text("x"))),
        "operator.methodcaller": program(call(name("operator", "methodcaller"), text("system"), text(command))),
        "an estimator's method by reduce": program(call(name("sklearn.svm._classes", "SVC"), text(command))),
        "change a class": program(
            name("sklearn.svm._classes", "SVC"),
            pickle.NONE,
            pickle.EMPTY_DICT + text("predict") + name("numpy", "mean") + pickle.SETITEM,
            pickle.TUPLE2,
            pickle.BUILD,
        ),
        "an instance's own __setstate__": program(
            estimator,
            pickle.EMPTY_DICT + text("__setstate__") + name("numpy", "mean") + pickle.SETITEM + pickle.BUILD,
        ),
        "append to an object": program(estimator, text(command), pickle.APPEND),
        "set an item of a class": program(name("sklearn.svm._classes", "SVC"), text("a"), text("b"), pickle.SETITEM),
        "a restorer that is none": program(call(name(restore.__name__, "sys.modules.get"), text("os"))),
        "a restorer's import": program(call(name(restore.__name__, "_reduce_frame"), text("os"))),
        "ufunc restorer, other module": program(call(name(restore.__name__, "ufunc"), text("os"), text("system"))),
        "ufunc restorer, no ufunc": program(call(name(restore.__name__, "ufunc"), text("numpy"), text("load"))),
        "distribution restorer": program(
            call(name(restore.__name__, "distribution"), text("rv_continuous"), pickle.EMPTY_TUPLE, pickle.EMPTY_DICT)
        ),
        "bit generator restorer": program(
            call(name(restore.__name__, "bit_generator"), text("os"), pickle.NONE, pickle.NONE)
        ),
        "code in a trusted-looking name": program(call(name("sklearn_evil.module", "run"), text(command))),
        "tests of sklearn": program(name("sklearn.tests.test_base", "MyEstimator")),
    }


PAYLOADS = sorted(hostile("marker"))


class TestHostileObjects:
    @pytest.mark.parametrize("payload", PAYLOADS)
    def test_is_refused_and_runs_nothing(self, payload, store, tmp_path):
        marker = tmp_path / "marker"
        stream = hostile(str(marker))[payload]
        path = tmp_path / "blob"
        with HashingFile(path) as file:
            write_buffers(file, stream, [])
        uri = store.commit(path, object_key(file.digest, ".objects"))
        before = SVC.predict
        with pytest.raises(REFUSED) as caught:
            load({"uri": uri, "digest": file.digest, "type": "sklearn.svm.SVC"}, store)
        assert not marker.exists()
        assert SVC.predict is before
        assert len(str(caught.value).splitlines()) <= 2

    def test_the_payloads_would_work_on_plain_pickle(self, tmp_path):
        """The list is no paper tiger: a plain unpickler runs them."""
        for payload in ("os.system", "eval", "exec", "open", "old GLOBAL opcode", "old INST opcode", "subprocess"):
            marker = tmp_path / payload.replace(" ", "-")
            result = pickle.loads(hostile(str(marker))[payload])
            if hasattr(result, "wait"):
                result.wait()
            assert marker.exists(), payload

    def test_thirty_and_more(self):
        assert len(PAYLOADS) > 30


class TestHostileMemory:
    def tree_with(self, change):
        model = DecisionTreeClassifier(random_state=0).fit(np.random.default_rng(0).random((50, 3)), [0, 1] * 25)
        arguments, state = model.tree_.__reduce__()[1], model.tree_.__getstate__()
        change(state)
        return arguments, state

    @pytest.mark.parametrize(
        ("field", "value", "said"),
        [
            ("left_child", 10**6, "link that leaves"),
            ("right_child", -7, "link that leaves"),
            ("left_child", 0, "link that leaves"),
            ("feature", 99, "feature that there is not"),
        ],
    )
    def test_a_tree_that_leaves_its_memory(self, field, value, said):
        def change(state):
            state["nodes"] = state["nodes"].copy()
            state["nodes"][field][0] = value

        with pytest.raises(ValueError, match=said):
            restore.tree(*self.tree_with(change))

    def test_a_tree_that_announces_too_much(self):
        with pytest.raises(ValueError, match="more nodes"):
            restore.tree(*self.tree_with(lambda state: state.update(node_count=10**6)))

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"WSOCKP5\n",
            b"somebody's pickle",
            MAGIC + struct.pack("<QQ", 5, 1 << 40),
            MAGIC + struct.pack("<QQQ", 5, 1, 1 << 60) + b"xxxxx",
            MAGIC + struct.pack("<QQ", 5, 0) + b"xxxxx and more",
        ],
    )
    def test_a_broken_layout(self, data):
        with pytest.raises(ArtifactCorrupted):
            read_buffers(memoryview(data))

    def test_an_npy_file_with_a_pickle(self, store, tmp_path):
        path = tmp_path / "x.npy"
        np.save(path, np.array([Call(os.system, f"touch {tmp_path / 'marker'}")], dtype=object), allow_pickle=True)
        digest = digest_bytes(path.read_bytes())
        uri = store.commit(path, object_key(digest, ".npy"))
        with pytest.raises(ArtifactCorrupted, match="never loaded"):
            load({"uri": uri, "digest": digest, "type": "numpy.ndarray"}, store)
        assert not (tmp_path / "marker").exists()

    def test_a_folder_whose_names_leave_it(self, store):
        manifest = b'{"files":[{"name":"../../evil","size":1,"digest":"blake3:' + b"0" * 64 + b'"}]}'
        digest = digest_bytes(manifest)
        uri = store.put_bytes(object_key(digest, ".tree"), manifest)
        with pytest.raises(ArtifactCorrupted, match="evil"):
            load({"uri": uri, "digest": digest, "type": "pathlib.Path"}, store)


class TestPickle:
    class Thing:
        def __eq__(self, other):
            return type(self) is type(other)

        __hash__ = None

    def test_is_never_chosen_silently(self, store):
        with pytest.raises(MaterializerNotFound, match="Thing") as caught:
            save(self.Thing(), store)
        assert "@step(pickle=True)" in caught.value.hint

    def test_needs_permission_to_load(self, store):
        stored = save(functools.partial(print, 1), store, allow_pickle=True)
        ref = {"uri": stored.uri, "digest": stored.digest, "type": stored.type}
        assert stored.materializer == "pickle"
        with pytest.raises(PickleRefused, match="would run code"):
            load(ref, store)
        assert load(ref, store, allow_pickle=True).args == (1,)

    def test_a_digest_that_does_not_match_is_never_run(self, store, tmp_path):
        marker = tmp_path / "marker"
        stored = save(functools.partial(print, 1), store, allow_pickle=True)
        path = tmp_path / "evil"
        with HashingFile(path) as file:
            write_buffers(file, pickle.dumps(Call(os.system, f"touch {marker}"), 5), [])
        store.write(store.key_of(stored.uri), path.read_bytes(), overwrite=True)
        ref = {"uri": stored.uri, "digest": stored.digest, "type": stored.type}
        with pytest.raises(ArtifactCorrupted, match="not what was stored"):
            load(ref, store, allow_pickle=True, verify=False)
        assert not marker.exists()

    def test_saving_never_pickles_a_function_of_the_user(self, store):
        model = LogisticRegression()
        model.callback = os.system
        with pytest.raises(MaterializerNotFound, match=r"posix\.system"):
            save(model, store)


def test_the_reader_imports_nothing_that_it_refuses():
    module = "antigravity"
    sys.modules.pop(module, None)
    with pytest.raises(PickleRefused):
        loads(program(name(module, "fly")))
    assert module not in sys.modules
