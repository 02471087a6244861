"""How objects of numpy, scipy and scikit-learn are taken apart, and the few functions that put them together again.

The libraries' own pickle hooks are too powerful to be called with a stranger's arguments: numpy's ufuncs import any
module by name, scipy.stats distributions ``exec`` a text of their state, ``dtype.__setstate__`` changes shared objects
in place, and a tree with a wrong child index reads outside its memory. So objects of those types are reduced to plain
facts, and rebuilt by the functions here, which check what they get. These are the only functions that a stored object
may call.
"""

from __future__ import annotations

import io
import math
import sys
from pickle import PickleBuffer
from typing import Any

_BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")


def reduce_special(obj: Any) -> Any:  # noqa: PLR0911 - a case a type
    """The reduction of an object that needs one of ours, or NotImplemented."""
    np = sys.modules["numpy"]
    if isinstance(obj, np.ndarray):
        return _reduce_array(np, obj)
    if isinstance(obj, np.generic):
        # Text of no characters has no bytes to read: it is written as one null character.
        return scalar, (obj.dtype.str if obj.dtype.itemsize else "<U1", obj.tobytes() or bytes(4))
    if isinstance(obj, np.dtype):
        return dtype, (_describe(np, obj),)
    if isinstance(obj, np.ufunc):
        return _reduce_ufunc(obj)
    if isinstance(obj, (np.random.RandomState, np.random.Generator, np.random.BitGenerator)):
        return _reduce_random(np, obj)
    if isinstance(obj, np.random.SeedSequence):
        return seed_sequence, (obj.entropy, tuple(obj.spawn_key), obj.pool_size, obj.n_children_spawned)
    kind = type(obj)
    if kind.__qualname__ == "Tree" and kind.__module__ == "sklearn.tree._tree":
        return tree, (obj.__reduce__()[1], obj.__getstate__())
    if kind.__qualname__ in ("rv_continuous_frozen", "rv_discrete_frozen"):
        return _reduce_distribution(obj)
    if kind.__name__ in ("dok_matrix", "dok_array") and kind.__module__ == "scipy.sparse._dok":
        return keys, (kind.__name__, obj.tocoo())
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(obj, (pandas.Index, pandas.DataFrame, pandas.Series)):
        return _reduce_frame(obj)
    return NotImplemented


def _describe(np: Any, value: Any) -> Any:
    return "T" if value.kind == "T" else np.lib.format.dtype_to_descr(value)


def _reduce_array(np: Any, array: Any) -> Any:
    kind = type(array)
    if kind is np.ma.MaskedArray:
        return masked, (array.data, np.ma.getmaskarray(array), array.fill_value)
    if kind not in (np.ndarray, np.memmap, np.matrix, np.recarray):
        return NotImplemented
    name = "" if kind is np.memmap else {"ndarray": ""}.get(kind.__name__, kind.__name__)
    if array.dtype.hasobject or array.dtype.kind == "T":
        if array.dtype.kind not in "OT":
            return NotImplemented
        items = np.asarray(array).ravel().tolist()
        return object_array, (array.shape, items, _describe(np, array.dtype))
    plain = np.asarray(array)
    if plain.dtype.kind in "Mm" or plain.dtype.fields:
        descr = np.lib.format.dtype_to_descr(plain.dtype)
    else:
        descr = plain.dtype.str
    fortran = plain.flags.f_contiguous and not plain.flags.c_contiguous
    if not (fortran or plain.flags.c_contiguous):
        plain = np.ascontiguousarray(plain)
    memory = (plain.T if fortran else plain).reshape(-1).view(np.uint8) if plain.size else np.empty(0, np.uint8)
    return ndarray, (PickleBuffer(memory), descr, plain.shape, fortran, name)


def ndarray(data: Any, descr: Any, shape: tuple[int, ...], fortran: bool, kind: str) -> Any:
    import numpy as np

    element = np.lib.format.descr_to_dtype(descr)
    if element.hasobject:
        raise ValueError("an array of objects has no memory to read")
    flat = np.frombuffer(data, dtype=element, count=math.prod(shape)) if math.prod(shape) else np.empty(0, element)
    array = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
    if kind:
        array = array.view({"matrix": np.matrix, "recarray": np.recarray}[kind])
    return array


def object_array(shape: tuple[int, ...], items: list[Any], descr: str) -> Any:
    import numpy as np

    array: Any = np.empty(len(items), dtype=np.dtypes.StringDType() if descr == "T" else object)
    for position, item in enumerate(items):  # one by one: numpy would unpack lists into dimensions
        array[position] = item
    return array.reshape(shape)


def masked(data: Any, mask: Any, fill_value: Any) -> Any:
    import numpy as np

    return np.ma.MaskedArray(data, mask=mask, fill_value=fill_value)


def scalar(descr: Any, data: bytes) -> Any:
    import numpy as np

    element = np.lib.format.descr_to_dtype(descr)
    if element.hasobject:
        raise ValueError("an object is no number")
    return np.frombuffer(data, dtype=element, count=1)[0]


def dtype(descr: Any) -> Any:
    import numpy as np

    return np.dtypes.StringDType() if descr == "T" else np.lib.format.descr_to_dtype(descr)


def _reduce_ufunc(function: Any) -> Any:
    name = str(function.__name__)
    for module in ("numpy", "scipy.special"):
        if getattr(sys.modules.get(module), name, None) is function:
            return ufunc, (module, name)
    return NotImplemented


def ufunc(module: str, name: str) -> Any:
    import numpy as np

    if module == "scipy.special":
        import scipy.special as home
    else:
        home = np
    found = vars(home).get(name)
    if not isinstance(found, np.ufunc):
        raise ValueError(f"{module}.{name} is no ufunc")
    return found


def _reduce_random(np: Any, obj: Any) -> Any:
    if isinstance(obj, np.random.RandomState):
        if type(obj) is not np.random.RandomState:
            return NotImplemented
        return random_state, (obj.get_state(legacy=False),)
    if isinstance(obj, np.random.Generator):
        return generator, (obj.bit_generator,)
    return bit_generator, (type(obj).__name__, obj.state, obj.seed_seq)


def random_state(state: dict[str, Any]) -> Any:
    import numpy as np

    made = np.random.RandomState(bit_generator(state["bit_generator"], None, None))
    made.set_state(state)
    return made


def generator(bits: Any) -> Any:
    import numpy as np

    return np.random.Generator(bits)


def bit_generator(name: str, state: dict[str, Any] | None, seed: Any) -> Any:
    import numpy as np

    if name not in _BIT_GENERATORS:
        raise ValueError(f"{name} is no bit generator")
    made = getattr(np.random, name)(0 if seed is None else seed)
    if state is not None:
        made.state = state
    return made


def seed_sequence(entropy: Any, spawn_key: tuple[int, ...], pool_size: int, spawned: int) -> Any:
    import numpy as np

    return np.random.SeedSequence(entropy, spawn_key=spawn_key, pool_size=pool_size, n_children_spawned=spawned)


def tree(arguments: tuple[Any, ...], state: dict[str, Any]) -> Any:
    """A decision tree whose every link and feature stays inside it: scikit-learn itself does not check that."""
    import numpy as np
    from sklearn.tree._tree import Tree

    features = int(arguments[0])
    nodes, count = state["nodes"], int(state["node_count"])
    if len(nodes) < count or len(state["values"]) < count:
        raise ValueError("a tree announces more nodes than it has")
    used = nodes[:count]
    here = np.arange(count)
    left = np.ascontiguousarray(used["left_child"])
    leaf = left == -1
    for links in (left, np.ascontiguousarray(used["right_child"])):
        # A child always comes after its parent, so that walking down ends.
        if not (leaf | ((links > here) & (links < count))).all():
            raise ValueError("a tree has a link that leaves it")
    asked = np.ascontiguousarray(used["feature"])
    if not (leaf | ((asked >= 0) & (asked < features))).all():
        raise ValueError("a tree asks for a feature that there is not")
    made = Tree(*arguments)
    made.__setstate__(state)
    return made


def keys(name: str, coordinates: Any) -> Any:
    """A sparse matrix that is a dict, of its coordinates."""
    from scipy import sparse

    return {"dok_matrix": sparse.dok_matrix, "dok_array": sparse.dok_array}[name](coordinates)


def _reduce_frame(obj: Any) -> Any:
    from .arrow import PandasMaterializer

    sink = io.BytesIO()
    PandasMaterializer().write(obj, sink)
    return frame, (sink.getvalue(),)


def frame(data: bytes) -> Any:
    """A pandas DataFrame, Series or Index, which estimators hold as parameters: names of columns, mostly."""
    import pyarrow as pa

    from .arrow import read_table

    return read_table(pa.BufferReader(data))


def _reduce_distribution(obj: Any) -> Any:
    stats = sys.modules["scipy.stats"]
    name = obj.dist.name
    same = type(getattr(stats, name, None)) is type(obj.dist)
    return (distribution, (name, obj.args, obj.kwds)) if same else NotImplemented


def distribution(name: str, args: tuple[Any, ...], kwds: dict[str, Any]) -> Any:
    """``scipy.stats.uniform(0, 1)`` and the like, which searches for hyperparameters hold."""
    from scipy import stats

    family = vars(stats).get(name)
    if not isinstance(family, (stats.rv_continuous, stats.rv_discrete)):
        raise ValueError(f"scipy.stats.{name} is no distribution")
    return family(*args, **kwds)
