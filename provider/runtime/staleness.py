"""Does the code that this process has loaded still say what its file says?

In a notebook or a long-lived worker a file may be edited after it was imported. Its source then describes other code
than what would run, and caching the result under the new source would poison the cache. Only a file that is younger
than the process can differ, so that normally nothing is compared at all.
"""

from __future__ import annotations

import ast
import os
import time
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

_MISSING: Any = object()
_LITERALS = (type(None), bool, int, float, str, bytes, tuple)


def _process_start() -> float:
    """Seconds since the epoch; 0 where it cannot be known, so that everything is compared."""
    try:
        ticks = int(Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19])
        return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0


_STARTED = _process_start()


def loaded_code_matches(module: ModuleType | None, tree: ast.Module, path: str, modified: float) -> bool:
    """False if a function, method or literal constant of the loaded module is not that of the file."""
    if module is None or modified <= _STARTED:
        return True
    code = compile(tree, path, "exec", dont_inherit=True)
    codes = {const.co_name: const for const in code.co_consts if isinstance(const, CodeType)}
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            if not _same_function(
                getattr(module, statement.name, _MISSING), codes.get(statement.name), module.__name__
            ):
                return False
        elif isinstance(statement, ast.ClassDef):
            if not _same_class(getattr(module, statement.name, None), codes.get(statement.name), module.__name__):
                return False
        elif isinstance(statement, ast.Assign) and not _same_literal(module, statement):
            return False
    return True


def _same_function(live: Any, code: CodeType | None, module: str) -> bool:
    live = getattr(live, "function", live)  # a Step
    live = getattr(live, "__func__", live)
    while hasattr(live, "__wrapped__"):
        live = live.__wrapped__
    loaded = getattr(live, "__code__", None)
    if code is None or getattr(live, "__module__", module) != module:
        return True
    return live is not _MISSING and (loaded is None or _same_code(loaded, code))


def _same_class(live: Any, code: CodeType | None, module: str) -> bool:
    if code is None or not isinstance(live, type):
        return live is not None
    methods = {const.co_name: const for const in code.co_consts if isinstance(const, CodeType)}
    return all(
        name not in methods or _same_function(value, methods[name], module) for name, value in vars(live).items()
    )


def _same_code(a: CodeType, b: CodeType) -> bool:
    """Equal instructions, names and constants; line numbers and file names do not count."""
    if (a.co_name, a.co_code, a.co_names, a.co_varnames) != (b.co_name, b.co_code, b.co_names, b.co_varnames):
        return False
    if len(a.co_consts) != len(b.co_consts):
        return False
    return all(
        _same_code(x, y) if isinstance(x, CodeType) and isinstance(y, CodeType) else type(x) is type(y) and x == y
        for x, y in zip(a.co_consts, b.co_consts, strict=True)
    )


def _same_literal(module: ModuleType, statement: ast.Assign) -> bool:
    """A module constant that was rebound on purpose also counts as different: its value is not in the file."""
    try:
        value = ast.literal_eval(statement.value)
    except (ValueError, TypeError, SyntaxError):
        return True
    if not isinstance(value, _LITERALS):
        return True
    names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
    return all(getattr(module, name, value) == value for name in names)
