"""Project files, found and parsed without being executed: what their top level binds and imports.

A file is parsed once and again only when its time or size has changed.
"""

from __future__ import annotations

import ast
import os
import sys
import sysconfig
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Stamp = tuple[str, int, int]
"""A file as it was: path, mtime in ns, size."""

_INSTALLED = tuple({sysconfig.get_path(key) + os.sep for key in ("stdlib", "platstdlib", "purelib", "platlib")})
_FOREIGN_PARTS = ("site-packages", "dist-packages")
OWN = __name__.partition(".")[0]


def unchanged(stamps: Iterable[Stamp]) -> bool:
    try:
        return all((s := os.stat(path)).st_mtime_ns == mtime and s.st_size == size for path, mtime, size in stamps)  # noqa: PTH116
    except OSError:
        return False


class Imported(NamedTuple):
    """What an import statement binds: a module, or ``attribute`` of one."""

    module: str
    attribute: str | None = None


@dataclass
class Module:
    """The top level of one project file: what binds each name, what is imported under which name."""

    name: str
    stamp: Stamp
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, list[Imported]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    body: list[ast.stmt] = field(default_factory=list)
    fresh: bool = True


_MODULES: dict[str, Module] = {}


def module_of(name: str) -> Module | None:
    """The analysed project module of that name; None if it is not project code, or cannot be parsed."""
    path = module_file(name)
    if path is None:
        return None
    known = _MODULES.get(name)
    if known is not None and known.fresh and known.stamp[0] == path and unchanged([known.stamp]):
        return known
    try:
        status = os.stat(path)  # noqa: PTH116
        tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    from .staleness import loaded_code_matches

    module = Module(name, (path, status.st_mtime_ns, status.st_size), body=tree.body)
    package = name if Path(path).name == "__init__.py" else name.rpartition(".")[0]
    for statement in tree.body:
        _bind(module, statement, statement, package)
    _bind_mutations(module)
    module.fresh = loaded_code_matches(sys.modules.get(name), tree, path, status.st_mtime)
    _MODULES[name] = module
    return module


def _bind(module: Module, statement: ast.stmt, top: ast.stmt, package: str) -> None:
    """Note the names that ``statement``, which stands in the top-level statement ``top``, binds."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        bind_import(statement, package, module.imports, module.stars)
        return
    for name in _bound_names(statement):
        definitions = module.definitions.setdefault(name, [])
        if top not in definitions:
            definitions.append(top)
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, ast.stmt):
            _bind(module, child, top, package)
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            for inner in child.body:
                _bind(module, inner, top, package)


def _bound_names(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
        return
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign | ast.For):
        targets = [statement.target]
    elif isinstance(statement, ast.With):
        targets = [item.optional_vars for item in statement.items if item.optional_vars]
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        targets = [statement.value.func]  # TABLE.update(...) changes TABLE
    elif type(statement).__name__ == "TypeAlias":  # 3.12
        targets = [statement.name]  # type: ignore[attr-defined]
    for target in targets:
        for node in ast.walk(target):
            if isinstance(node, ast.Name):
                yield node.id
                if not isinstance(target, ast.Tuple | ast.List):
                    break


def bind_import(
    statement: ast.Import | ast.ImportFrom, package: str, imports: dict[str, list[Imported]], stars: list[str]
) -> None:
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            target = alias.name if alias.asname else alias.name.partition(".")[0]
            imports.setdefault(alias.asname or target, []).append(Imported(target))
        return
    base = statement.module or ""
    if statement.level:
        anchor = package.split(".")[: len(package.split(".")) - statement.level + 1]
        base = ".".join([*anchor, base] if base else anchor)
    for alias in statement.names:
        if alias.name == "*":
            stars.append(base)
        else:
            imports.setdefault(alias.asname or alias.name, []).append(Imported(base, alias.name))


def _bind_mutations(module: Module) -> None:
    """``@TABLE.register`` over a function changes ``TABLE``, if that is a variable of the module."""
    variables = {name for name, nodes in module.definitions.items() if any(isinstance(n, ast.Assign) for n in nodes)}
    for statement in module.body:
        for decorator in getattr(statement, "decorator_list", ()):
            chain = chain_of(decorator.func if isinstance(decorator, ast.Call) else decorator)
            if chain and chain[0] in variables and statement not in module.definitions[chain[0]]:
                module.definitions[chain[0]].append(statement)


def chain_of(node: ast.expr) -> tuple[str, ...] | None:
    """``a.b.c`` as ``("a", "b", "c")``."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else None


def is_foreign(module: str) -> bool:
    """Standard library, built in, or installed: decided by the file of the top-level package."""
    top = module.partition(".")[0]
    known = _FOREIGN.get(top)
    if known is None:
        if top == "__main__" or top in sys.stdlib_module_names:
            return top != "__main__"
        origin = _origin(top)
        if origin is None:
            return True  # not remembered: it may be written later
        known = _FOREIGN[top] = _installed(origin)
    return known


_FOREIGN: dict[str, bool] = {}
_SPECS: dict[str, ModuleSpec] = {}


def _installed(path: str) -> bool:
    return path.startswith(_INSTALLED) or any(f"{os.sep}{part}{os.sep}" in path for part in _FOREIGN_PARTS)


def module_file(name: str) -> str | None:
    """The ``.py`` file of a module, found without importing anything."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        path = getattr(loaded, "__file__", None)
    else:
        spec = _spec(name)
        path = spec.origin if spec else None
    return path if isinstance(path, str) and path.endswith(".py") else None


def _origin(top: str) -> str | None:
    """A path that says where a top-level module or (namespace) package lives."""
    loaded = sys.modules.get(top)
    if loaded is not None and getattr(loaded, "__file__", None):
        return str(loaded.__file__)
    spec = _spec(top)
    if spec is None:
        return None
    return spec.origin or next(iter(spec.submodule_search_locations or ()), None)


def _spec(name: str) -> ModuleSpec | None:
    known = _SPECS.get(name)
    if known is not None:
        return known
    parent, _, _ = name.rpartition(".")
    try:
        if parent:
            loaded = sys.modules.get(parent)
            above = None if loaded is not None else _spec(parent)
            path = getattr(loaded, "__path__", None) or (above.submodule_search_locations if above else None)
            found = PathFinder.find_spec(name, list(path)) if path else None
        else:
            found = find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    if found is not None:
        _SPECS[name] = found
    return found


def imports_of(module: str, name: str) -> list[tuple[str, str | None]]:
    """What import statements of a module bind ``name`` to: ``(module, attribute or None)``, TYPE_CHECKING included."""
    known = module_of(module)
    return [(i.module, i.attribute) for i in known.imports.get(name, ())] if known else []
