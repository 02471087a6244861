"""The digest of a step's source code and of the project code that it calls.

A step's cached output is stale when the step changes, and just as stale when a helper that it calls in another module
changes. So the digest covers the step's definition and, transitively, every top-level definition of the *project*
(not: the standard library, installed packages, Windsock) that it names: functions, classes, constants, re-exports,
imports in function bodies. A module used as a value (``getattr(helpers, name)``) counts whole.

How: each project file is parsed once and never executed; definitions are hashed as syntax trees without docstrings,
comments, formatting and Windsock's own decorators, so that ``@step(retries=3)`` or a new comment keeps the cache.
Everything is memoised against file times, so that a known step costs one ``stat`` a file.

What it does not see: data files, environment variables, installed versions, calls through strings
(``importlib.import_module(name)``), and side effects of importing a module that is never named. It errs towards
"changed": a local variable that has the name of a global counts as a use of it. A new Python minor version may give
new digests.

If a file was edited after this process imported it, its source is not what would run: the digest is then None, and
the step is not cached (see ``staleness.py``).
"""

from __future__ import annotations

import ast
import builtins
import functools
import hashlib
import inspect
import os
import pickle
import sys
import sysconfig
import textwrap
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..pipelines.spec import stable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Stamp = tuple[str, int, int]
"""A file as it was: path, mtime in ns, size."""

_INSTALLED = tuple({sysconfig.get_path(key) + os.sep for key in ("stdlib", "platstdlib", "purelib", "platlib")})
_FOREIGN_PARTS = ("site-packages", "dist-packages")
_OWN = __name__.partition(".")[0]
_SIMPLE = (type(None), bool, int, float, complex, str, bytes)


def source_digest(function: Callable[..., Any]) -> str | None:
    """32 hex characters for a function or class and all project code that it uses; None if that cannot be known."""
    target = inspect.unwrap(function)
    module, qualname = target.__module__, target.__qualname__
    if "<locals>" in qualname or "<lambda>" in qualname or _module_file(module) is None:
        return _live_digest(target)
    known = _CLOSURES.get((module, qualname))
    if known is None or known[0] is None or not _unchanged(known[1]) or known[1][0][0] != _module_file(module):
        walk = _Walk()
        walk.name(module, qualname.partition(".")[0], root=True)
        known = _CLOSURES[module, qualname] = (walk.digest(), walk.stamps())
    return known[0]


def source_digests(functions: Iterable[str]) -> tuple[str | None, set[str]]:
    """One digest for several ``"module:qualname"``, none of them imported, and the foreign packages that they use."""
    walk = _Walk()
    for function in functions:
        module, _, qualname = function.partition(":")
        if "<" not in qualname:
            walk.name(module, qualname.partition(".")[0], root=True)
    return walk.digest(), walk.foreign


_CLOSURES: dict[tuple[str, str], tuple[str | None, tuple[Stamp, ...]]] = {}


def _unchanged(stamps: Iterable[Stamp]) -> bool:
    try:
        return all((s := os.stat(path)).st_mtime_ns == mtime and s.st_size == size for path, mtime, size in stamps)  # noqa: PTH116
    except OSError:
        return False


# ---------------------------------------------------------------------------------------------- one file, parsed


@dataclass(frozen=True)
class _Imported:
    """What an import statement binds: a module, or ``attribute`` of one."""

    module: str
    attribute: str | None = None


@dataclass
class _Module:
    """The top level of one project file: what binds each name, what is imported under which name."""

    name: str
    stamp: Stamp
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, list[_Imported]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    body: list[ast.stmt] = field(default_factory=list)
    fresh: bool = True


_MODULES: dict[str, _Module] = {}


def _module(name: str) -> _Module | None:
    """The analysed project module of that name; None if it is not project code, or cannot be parsed."""
    path = _module_file(name)
    if path is None:
        return None
    known = _MODULES.get(name)
    if known is not None and known.fresh and known.stamp[0] == path and _unchanged([known.stamp]):
        return known
    try:
        status = os.stat(path)  # noqa: PTH116
        tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    from .staleness import loaded_code_matches

    module = _Module(name, (path, status.st_mtime_ns, status.st_size), body=tree.body)
    package = name if Path(path).name == "__init__.py" else name.rpartition(".")[0]
    for statement in tree.body:
        _bind(module, statement, statement, package)
    _bind_mutations(module)
    module.fresh = loaded_code_matches(sys.modules.get(name), tree, path, status.st_mtime)
    _MODULES[name] = module
    return module


def _bind(module: _Module, statement: ast.stmt, top: ast.stmt, package: str) -> None:
    """Note the names that ``statement``, which stands in the top-level statement ``top``, binds."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        _bind_import(statement, package, module.imports, module.stars)
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


def _bind_import(
    statement: ast.Import | ast.ImportFrom, package: str, imports: dict[str, list[_Imported]], stars: list[str]
) -> None:
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            target = alias.name if alias.asname else alias.name.partition(".")[0]
            imports.setdefault(alias.asname or target, []).append(_Imported(target))
        return
    base = statement.module or ""
    if statement.level:
        anchor = package.split(".")[: len(package.split(".")) - statement.level + 1]
        base = ".".join([*anchor, base] if base else anchor)
    for alias in statement.names:
        if alias.name == "*":
            stars.append(base)
        else:
            imports.setdefault(alias.asname or alias.name, []).append(_Imported(base, alias.name))


def _bind_mutations(module: _Module) -> None:
    """``@TABLE.register`` over a function changes ``TABLE``, if that is a variable of the module."""
    variables = {name for name, nodes in module.definitions.items() if any(isinstance(n, ast.Assign) for n in nodes)}
    for statement in module.body:
        for decorator in getattr(statement, "decorator_list", ()):
            chain = _chain(decorator.func if isinstance(decorator, ast.Call) else decorator)
            if chain and chain[0] in variables and statement not in module.definitions[chain[0]]:
                module.definitions[chain[0]].append(statement)


# ---------------------------------------------------------------------------------------------- what a definition uses


def _chain(node: ast.expr) -> tuple[str, ...] | None:
    """``a.b.c`` as ``("a", "b", "c")``."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else None


class _Uses(ast.NodeVisitor):
    """The attribute chains that a definition reads, and the imports inside it."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.chains: set[tuple[str, ...]] = set()
        self.imports: dict[str, list[_Imported]] = {}
        self.stars: list[str] = []

    def visit_Name(self, node: ast.Name) -> None:
        self.chains.add((node.id,))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain = _chain(node)
        if chain:
            self.chains.add(chain)
        else:
            self.visit(node.value)

    def visit_Import(self, node: ast.Import) -> None:
        _bind_import(node, self.package, self.imports, self.stars)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        _bind_import(node, self.package, self.imports, self.stars)


def _normalised(statement: ast.stmt, own_decorator: Callable[[ast.expr], bool]) -> str:
    """The syntax tree as text, without docstrings and without Windsock's decorators on the statement itself."""
    hidden: list[tuple[Any, str, Any]] = []
    for node in ast.walk(statement):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                hidden.append((node, "body", node.body))
                node.body = node.body[1:]
    decorators = getattr(statement, "decorator_list", None)
    if decorators:
        hidden.append((statement, "decorator_list", decorators))
        statement.decorator_list = [d for d in decorators if not own_decorator(d)]  # type: ignore[attr-defined]
    try:
        return ast.dump(statement, annotate_fields=False)
    finally:
        for node, attribute, value in hidden:
            setattr(node, attribute, value)


class _Walk:
    """One traversal from a definition to everything of the project that it uses."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, str]] = set()
        self._hashed: dict[int, tuple[str, str]] = {}
        self._values: list[str] = []
        self._modules: dict[str, _Module] = {}
        self._unknown = False
        self.foreign: set[str] = set()

    def name(self, module_name: str, name: str, *, root: bool = False) -> None:
        """Take in what ``name`` is bound to in a module. Foreign modules are left alone, except for the root."""
        if (module_name, name) in self._seen or not (root or _is_project(module_name)):
            return
        self._seen.add((module_name, name))
        module = self._open(module_name)
        if module is None:
            self._unknown |= root
            return
        found = False
        for statement in module.definitions.get(name, ()):
            found = True
            self.statement(module, statement, name)
        for imported in module.imports.get(name, ()):
            found = True
            self._imported(imported, ())
        if not found:
            for star in module.stars:
                self.name(star, name)
            if "__getattr__" in module.definitions:
                self.name(module_name, "__getattr__")
            if _module_file(f"{module_name}.{name}") is not None:
                self.whole(f"{module_name}.{name}")
            elif root:
                self._unknown = True

    def whole(self, module_name: str) -> None:
        """Take in a module that is used as a value: anything in it may be meant."""
        if (module_name, "*") in self._seen or not _is_project(module_name):
            return
        self._seen.add((module_name, "*"))
        module = self._open(module_name)
        for statement in module.body if module else ():
            self.statement(module, statement, "*")  # type: ignore[arg-type]

    def statement(self, module: _Module, statement: ast.stmt, label: str) -> None:
        if id(statement) in self._hashed:
            return
        text = _normalised(statement, lambda d: _is_own(module, d))
        self._hashed[id(statement)] = (f"{stable(module.name)}:{label}", _digest(text))
        uses = _Uses(_package(module))
        for child in ast.iter_child_nodes(statement):
            if not (
                isinstance(child, ast.expr)
                and child in getattr(statement, "decorator_list", ())
                and _is_own(module, child)
            ):
                uses.visit(child)
        if isinstance(statement, ast.Import | ast.ImportFrom):
            uses.visit(statement)
        for chain in uses.chains:
            self.chain(module, chain, uses)
        for star in uses.stars:
            self.whole(star)

    def chain(self, module: _Module, chain: tuple[str, ...], uses: _Uses) -> None:
        root = chain[0]
        for imported in uses.imports.get(root) or module.imports.get(root) or ():
            self._imported(imported, chain[1:])
        if root in module.definitions:
            self.name(module.name, root)
        elif module.stars and not hasattr(builtins, root):
            for star in module.stars:
                self.name(star, root)

    def value(self, value: Any) -> None:
        """Take in a live value: of a closure, or of a notebook's globals."""
        if isinstance(value, _SIMPLE):
            self._values.append(repr(value))
        elif isinstance(value, ModuleType):
            self.whole(value.__name__)
        elif isinstance(value, functools.partial):
            for part in (value.func, value.args, value.keywords):
                self.value(part)
        elif isinstance(value, dict):
            self.value([item for pair in value.items() for item in pair])
        elif isinstance(value, list | tuple):
            for part in value:
                self.value(part)
        elif callable(getattr(value, "function", None)):
            self.value(value.function)  # a Step
        elif inspect.isfunction(value) or inspect.isclass(value):
            if _is_project(value.__module__) or "<locals>" in value.__qualname__:
                inner = source_digest(value)
                self._values.append(f"{value.__qualname__}={inner}")
                self._unknown |= inner is None
        elif not callable(value) or not _is_foreign(type(value).__module__):
            self._pickled(value)

    def _pickled(self, value: Any) -> None:
        try:
            self._values.append(_digest(pickle.dumps(value, protocol=5)))
        except Exception:  # noqa: BLE001 - whatever __reduce__ raises: the value cannot be known
            self._unknown = True

    def _imported(self, imported: _Imported, rest: tuple[str, ...]) -> None:
        if not _is_project(imported.module):
            self.foreign.add(imported.module.partition(".")[0])
            return
        current = imported.module
        path = rest if imported.attribute is None else (imported.attribute, *rest)
        for i, part in enumerate(path):
            if _module_file(f"{current}.{part}") is None:
                self.name(current, part)
                return
            if (bound := self._open(current)) is not None and part in bound.definitions:
                self.name(current, part)
                return
            current = f"{current}.{part}"
            if i == len(path) - 1:
                break
        self.whole(current)

    def _open(self, name: str) -> _Module | None:
        module = _module(name)
        if module is not None:
            self._modules[name] = module
            self._unknown |= not module.fresh
        return module

    def digest(self) -> str | None:
        if self._unknown:
            return None
        return _digest(
            "\n".join([*(f"{label} {digest}" for label, digest in sorted(self._hashed.values())), *self._values])
        )

    def stamps(self) -> tuple[Stamp, ...]:
        return tuple(module.stamp for module in self._modules.values())


def _live_digest(function: Callable[..., Any]) -> str | None:
    """For a function without a home at the top level of a file: nested, a lambda, or typed into a notebook."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None
    walk = _Walk()
    scope = _module(function.__module__) or _Module(function.__module__, ("", 0, 0))
    if not scope.fresh:
        return None
    variables = inspect.getclosurevars(function) if inspect.isfunction(function) else None
    live = {} if variables is None else dict(variables.nonlocals)
    if not scope.body and variables is not None:
        live |= variables.globals
    for statement in tree.body:
        walk.statement(scope, statement, function.__qualname__)
    for name in sorted(live):
        walk.value(live[name])
    if variables is not None:
        walk.value(list(function.__defaults__ or ()))
    return walk.digest()


# ---------------------------------------------------------------------------------------------- which code is ours


def _digest(data: str | bytes) -> str:
    return hashlib.blake2b(data.encode() if isinstance(data, str) else data, digest_size=16).hexdigest()


def _package(module: _Module) -> str:
    return module.name if module.stamp[0].endswith("__init__.py") else module.name.rpartition(".")[0]


def _is_own(module: _Module, decorator: ast.expr) -> bool:
    """Is it one of Windsock's decorators, such as ``@step``?"""
    chain = _chain(decorator.func if isinstance(decorator, ast.Call) else decorator)
    targets = module.imports.get(chain[0], ()) if chain else ()
    return any(t.module.partition(".")[0] == _OWN for t in targets)


def _is_project(module: str) -> bool:
    return module.partition(".")[0] != _OWN and not _is_foreign(module)


def _is_foreign(module: str) -> bool:
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


def _module_file(name: str) -> str | None:
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
    known = _module(module)
    return [(i.module, i.attribute) for i in known.imports.get(name, ())] if known else []
