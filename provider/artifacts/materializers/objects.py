"""scikit-learn estimators and other objects of known libraries, without ever unpickling arbitrary code.

Two ways were tried on a random forest of 100 MB. *skops* (0.16) walks the object in Python and zips it: 3 times the
time of joblib to save, 2 to 8 times to load, and it does not know scikit-learn's own ``Tree`` unless told to trust it.
The way taken here is pickle's protocol 5 with the arrays' memory beside the stream, at joblib's speed
(`benchmarks/artifacts.py`), read by an interpreter that refuses every name outside :mod:`.allowed`, and every call,
creation and change of state that is not on the list. Both refuse hostile files; this one also checks the trees' links,
and keeps the estimators' own ``__setstate__`` with its warning about other versions.
"""

from __future__ import annotations

import io
import pickle
from collections import deque
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import ArtifactCorrupted, MaterializerNotFound, PickleRefused
from .allowed import permission
from .base import BufferMaterializer, LoadRequest
from .oob import read_buffers, write_buffers
from .plain import preview
from .restore import reduce_special

if TYPE_CHECKING:
    from ..digests import HashingFile

_FUNCTIONS = ("cython_function_or_method", "_ArrayFunctionDispatcher", "builtin_function_or_method", "function")
_FIXED = (type, FunctionType, BuiltinFunctionType, ModuleType)


class ObjectMaterializer(BufferMaterializer):
    """Estimators and pipelines of scikit-learn, sparse matrices, masked arrays; other classes after ``trust()``."""

    name = "objects"
    extension = ".objects"

    def write(self, value: Any, file: HashingFile) -> None:
        buffers: list[pickle.PickleBuffer] = []
        stream = io.BytesIO()
        try:
            _Writer(stream, buffers, type(value)).dump(value)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise _cannot_store(type(value), f"it holds something that cannot be stored: {error}") from error
        write_buffers(file, stream.getvalue(), buffers)

    def read(self, data: memoryview, request: LoadRequest) -> Any:
        stream, buffers = read_buffers(data)
        return loads(stream, buffers)

    def describe(self, value: Any) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        if hasattr(value, "shape") and hasattr(value, "dtype"):
            return {"shape": [int(n) for n in value.shape], "dtype": str(value.dtype)}
        if hasattr(value, "get_params"):
            import sklearn

            facts["library"] = f"scikit-learn {sklearn.__version__}"
            facts["parameters"] = preview(value.get_params(deep=False), depth=1)
        names = getattr(value, "feature_names_in_", None)
        if names is not None:
            facts["features"] = [str(name) for name in names[:1000]]
        count = getattr(value, "n_features_in_", None)
        if count is not None:
            facts["n_features"] = int(count)
        classes = getattr(value, "classes_", None)
        if classes is not None and hasattr(classes, "tolist"):
            facts["classes"] = preview(classes.tolist())
        return facts


def loads(stream: memoryview | bytes, buffers: list[memoryview] | None = None, trusted: tuple[str, ...] = ()) -> Any:
    """Rebuild a stored object. Raises ``PickleRefused`` for anything outside the allow-list."""
    try:
        return _Reader(io.BytesIO(stream), buffers or [], trusted).load()
    except (PickleRefused, MemoryError):
        raise
    except ImportError as error:
        raise ArtifactCorrupted(
            f"The stored object needs {error.name}, which is not installed here: {error}.",
            hint="Install the versions that wrote it: pip install 'airflow-provider-windsock[sklearn]'",
        ) from error
    except Exception as error:
        raise ArtifactCorrupted(f"The stored object cannot be rebuilt: {type(error).__name__}: {error}") from error


class _Writer(pickle.Pickler):
    """Reduces known types to checked facts, and refuses at once what the reader would refuse."""

    def __init__(self, stream: io.BytesIO, buffers: list[pickle.PickleBuffer], root: type) -> None:
        super().__init__(stream, protocol=5, buffer_callback=buffers.append)
        self._root = root

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type) or type(obj).__name__ in _FUNCTIONS:
            module, name = obj.__module__, obj.__qualname__
            if permission(module or "builtins", name) is None:
                raise _cannot_store(self._root, f"it holds {module}.{name}", module, name)
            return NotImplemented
        return reduce_special(obj)


def _cannot_store(root: type, reason: str, module: str = "", name: str = "") -> MaterializerNotFound:
    who = f"{root.__module__}.{root.__qualname__}"
    if "<lambda>" in name or "<locals>" in name:
        advice = "Define it with a name at the top level of a module of yours, then trust it: "
    elif module == "__main__":
        advice = "Move it to a module that can be imported, then trust it: "
    else:
        advice = "If it is yours, trust it: "
    target = f"{module}:{name}" if module and "<" not in name and module != "__main__" else "acme.features"
    return MaterializerNotFound(
        f"A {who} cannot be stored without running code when it is loaded: {reason}, which is neither plain data nor "
        "of numpy, scipy or scikit-learn.",
        hint=f'{advice}windsock.provider.artifacts.trust("{target}"), or for every process the '
        f"entry point group windsock.trusted; or allow pickle for this step: @step(pickle=True)",
        type=who,
        needs=target,
    )


# The pure-Python unpickler, as joblib's: the C one cannot be told what it may call, only what it may name.
_Unpickler: Any = pickle._Unpickler


class _Reader(_Unpickler):  # type: ignore[misc]
    """An unpickler that names, creates, calls and changes only what is allowed."""

    dispatch: ClassVar[dict[int, Any]] = dict(_Unpickler.dispatch)

    def __init__(self, stream: io.BytesIO, buffers: list[memoryview], trusted: tuple[str, ...]) -> None:
        super().__init__(stream, buffers=buffers)
        self._trusted = trusted
        self._create: set[int] = set()
        self._call: set[int] = set()

    def find_class(self, module: str, name: str) -> Any:
        allowed = permission(module, name, self._trusted)
        if allowed is None:
            raise PickleRefused(
                f"The stored object refers to {module}.{name}, which a stored object may not use.",
                hint="If you know it and it is yours, trust it before loading: "
                f'windsock.provider.artifacts.trust("{module}:{name}")',
                needs=f"{module}:{name}",
            )
        if allowed.create:
            self._create.add(id(allowed.value))
        if allowed.call:
            self._call.add(id(allowed.value))
        return allowed.value

    def load_reduce(self) -> None:
        self._require(self.stack[-2], self._call, "call")
        super().load_reduce()

    def load_newobj(self) -> None:
        self._require(self.stack[-2], self._create, "create")
        super().load_newobj()

    def load_newobj_ex(self) -> None:
        self._require(self.stack[-3], self._create, "create")
        super().load_newobj_ex()

    def load_build(self) -> None:
        if isinstance(self.stack[-2], _FIXED):
            raise PickleRefused(f"The stored object changes {self.stack[-2]!r}, which is not its own.")
        state = self.stack[-1]
        for part in state if isinstance(state, tuple) else (state,):
            # An instance's own __setstate__ would be called by the next BUILD.
            if isinstance(part, dict) and any(isinstance(key, str) and key.startswith("__") for key in part):
                raise PickleRefused("The stored object sets a special method of an instance.")
        super().load_build()

    def load_append(self) -> None:
        self._require_type(self.stack[-2], (list, deque))
        super().load_append()

    def load_appends(self) -> None:
        self._require_type(self.metastack[-1][-1], (list, deque))
        super().load_appends()

    def load_setitem(self) -> None:
        self._require_type(self.stack[-3], dict)
        super().load_setitem()

    def load_setitems(self) -> None:
        self._require_type(self.metastack[-1][-1], dict)
        super().load_setitems()

    def load_additems(self) -> None:
        self._require_type(self.metastack[-1][-1], set)
        super().load_additems()

    def refuse(self) -> None:
        raise PickleRefused("The stored object uses an instruction of old pickles, which Windsock never writes.")

    def _require(self, target: Any, permitted: set[int], verb: str) -> None:
        if id(target) not in permitted:
            raise PickleRefused(f"The stored object would {verb} {target!r}, which a stored object may not.")

    @staticmethod
    def _require_type(target: Any, kind: type | tuple[type, ...]) -> None:
        if not isinstance(target, kind):
            raise PickleRefused(f"The stored object fills a {type(target).__qualname__}, which is no container.")

    dispatch[pickle.APPEND[0]] = load_append
    dispatch[pickle.APPENDS[0]] = load_appends
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.ADDITEMS[0]] = load_additems
    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.NEWOBJ[0]] = load_newobj
    dispatch[pickle.NEWOBJ_EX[0]] = load_newobj_ex
    dispatch[pickle.BUILD[0]] = load_build
    for _code in (pickle.INST, pickle.OBJ, pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.PERSID, pickle.BINPERSID):
        dispatch[_code[0]] = refuse
