"""The digest of a step's source code and of the project code that it calls.

A step's cached output is stale when the step changes, and just as stale when a helper that it calls in another module
changes. So the digest covers the step's definition and, transitively, every top-level definition of the *project*
that it names: functions, classes, constants, re-exports, imports in function bodies. The project is everything that is
not installed, and the step's own top-level package wherever it is; never the standard library and Windsock. A module
used as a value (``getattr(helpers, name)``) counts whole.

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
import pickle
import textwrap
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..pipelines.spec import stable
from .modules import OWN, Imported, Module, bind_import, chain_of, is_foreign, module_file, module_of, unchanged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .modules import Stamp

_SIMPLE = (type(None), bool, int, float, complex, str, bytes)


def source_digest(function: Callable[..., Any]) -> str | None:
    """32 hex characters for a function or class and all project code that it uses; None if that cannot be known."""
    target = inspect.unwrap(function)
    module, qualname = target.__module__, target.__qualname__
    if "<locals>" in qualname or "<lambda>" in qualname or module_file(module) is None:
        return _live_digest(target)
    known = _CLOSURES.get((module, qualname))
    if known is None or known[0] is None or not unchanged(known[1]) or known[1][0][0] != module_file(module):
        walk = _Walk()
        walk.name(module, qualname.partition(".")[0], root=True)
        known = _CLOSURES[module, qualname] = (walk.digest(), walk.stamps())
    return known[0]


def source_digests(functions: Iterable[str]) -> tuple[str | None, set[str]]:
    """One digest for several ``"module:qualname"``, none of them imported, and the foreign packages that they use."""
    key = tuple((function, module_file(function.partition(":")[0])) for function in functions)
    known = _SEVERAL.get(key)
    if known is None or known[0] is None or not unchanged(known[2]):
        walk = _Walk()
        for function, _ in key:
            module, _, qualname = function.partition(":")
            if "<" not in qualname:
                walk.name(module, qualname.partition(".")[0], root=True)
        known = _SEVERAL[key] = (walk.digest(), walk.foreign, walk.stamps())
    return known[0], known[1]


_CLOSURES: dict[tuple[str, str], tuple[str | None, tuple[Stamp, ...]]] = {}
_SEVERAL: dict[tuple[tuple[str, str | None], ...], tuple[str | None, set[str], tuple[Stamp, ...]]] = {}


def _digest(data: str | bytes) -> str:
    return hashlib.blake2b(data.encode() if isinstance(data, str) else data, digest_size=16).hexdigest()


class _Uses(ast.NodeVisitor):
    """The attribute chains that a definition reads, and the imports inside it."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.chains: set[tuple[str, ...]] = set()
        self.imports: dict[str, list[Imported]] = {}
        self.stars: list[str] = []

    def visit_Name(self, node: ast.Name) -> None:
        self.chains.add((node.id,))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain = chain_of(node)
        if chain:
            self.chains.add(chain)
        else:
            self.visit(node.value)

    def visit_Import(self, node: ast.Import) -> None:
        bind_import(node, self.package, self.imports, self.stars)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        bind_import(node, self.package, self.imports, self.stars)


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
        self._modules: dict[str, Module] = {}
        self._homes: set[str] = set()
        self._unknown = False
        self.foreign: set[str] = set()

    def name(self, module_name: str, name: str, *, root: bool = False) -> None:
        """Take in what ``name`` is bound to in a module. Foreign modules are left alone, except for the root."""
        if root:
            self._homes.add(module_name.partition(".")[0])
        if (module_name, name) in self._seen or not (root or self._counts(module_name)):
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
            if module_file(f"{module_name}.{name}") is not None:
                self.whole(f"{module_name}.{name}")
            elif root:
                self._unknown = True

    def whole(self, module_name: str) -> None:
        """Take in a module that is used as a value: anything in it may be meant."""
        if (module_name, "*") in self._seen or not self._counts(module_name):
            return
        self._seen.add((module_name, "*"))
        module = self._open(module_name)
        for statement in module.body if module else ():
            self.statement(module, statement, "*")  # type: ignore[arg-type]

    def statement(self, module: Module, statement: ast.stmt, label: str) -> None:
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

    def chain(self, module: Module, chain: tuple[str, ...], uses: _Uses) -> None:
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
            if self._counts(value.__module__) or "<locals>" in value.__qualname__:
                inner = source_digest(value)
                self._values.append(f"{value.__qualname__}={inner}")
                self._unknown |= inner is None
        elif not callable(value) or not is_foreign(type(value).__module__):
            self._pickled(value)

    def _pickled(self, value: Any) -> None:
        try:
            self._values.append(_digest(pickle.dumps(value, protocol=5)))
        except Exception:  # noqa: BLE001 - whatever __reduce__ raises: the value cannot be known
            self._unknown = True

    def _imported(self, imported: Imported, rest: tuple[str, ...]) -> None:
        if not self._counts(imported.module):
            self.foreign.add(imported.module.partition(".")[0])
            return
        current = imported.module
        path = rest if imported.attribute is None else (imported.attribute, *rest)
        for i, part in enumerate(path):
            if module_file(f"{current}.{part}") is None:
                self.name(current, part)
                return
            if (bound := self._open(current)) is not None and part in bound.definitions:
                self.name(current, part)
                return
            current = f"{current}.{part}"
            if i == len(path) - 1:
                break
        self.whole(current)

    def _counts(self, module: str) -> bool:
        """Is it project code? The package of the step itself is, even if it is installed: production images do that."""
        top = module.partition(".")[0]
        return top != OWN and (top in self._homes or not is_foreign(module))

    def _open(self, name: str) -> Module | None:
        module = module_of(name)
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
    scope = module_of(function.__module__) or Module(function.__module__, ("", 0, 0))
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


def _package(module: Module) -> str:
    return module.name if module.stamp[0].endswith("__init__.py") else module.name.rpartition(".")[0]


def _is_own(module: Module, decorator: ast.expr) -> bool:
    """Is it one of Windsock's decorators, such as ``@step``?"""
    chain = chain_of(decorator.func if isinstance(decorator, ast.Call) else decorator)
    targets = module.imports.get(chain[0], ()) if chain else ()
    return any(t.module.partition(".")[0] == OWN for t in targets)
