"""A throw-away project of real files, and a stack of real components in a folder of the test."""

from __future__ import annotations

import importlib
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from windsock.provider.runtime import modules
from windsock.provider.settings import Settings
from windsock.provider.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Project:
    """Python files in a folder on ``sys.path``; ``load`` imports one afresh, as a new process would."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, **files: str) -> None:
        for name, text in files.items():
            path = self.root / (name.replace("__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")

    def package(self, *names: str) -> None:
        for name in names:
            path = self.root / name.replace(".", "/") / "__init__.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def load(self, function: str) -> Any:
        self.forget()
        module, _, name = function.partition(":")
        return getattr(importlib.import_module(module), name)

    def forget(self) -> None:
        importlib.invalidate_caches()
        modules._SPECS.clear()
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(str(self.root)):
                del sys.modules[name]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a pyc has a resolution of one second
    made = Project(root)
    yield made
    made.forget()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """The built-in stack over a folder of the test: SQLite and local files."""
    settings = Settings.load(environ={"WINDSOCK_HOME": str(tmp_path / "home"), "WINDSOCK_ACTOR": "ada"})
    made = Stack.load("local", settings=settings)
    yield made
    made.metadata.close()
