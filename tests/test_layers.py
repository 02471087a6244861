"""Imports go down only: import-linter's contracts hold, and they cover every module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("windsock", cache_dir=None)


def layers():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    contract = next(c for c in settings["contracts"] if c["type"] == "layers")
    return [name.strip() for layer in contract["layers"] for name in layer.split("|")]


class TestContracts:
    def test_are_kept(self):
        program = Path(sys.executable).with_name("lint-imports")
        done = subprocess.run([str(program), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr

    def test_see_the_library_through_its_root_mapping(self, graph):
        # If the mapping of the root were not understood, the graph would be empty and every contract kept.
        assert "windsock.provider.errors" in graph.find_modules_directly_imported_by("windsock.provider.stack")
        assert graph.find_modules_directly_imported_by("windsock.hooks.stacks") >= {"windsock.hooks.settings"}

    def test_cover_every_module_of_the_core(self, graph):
        covered = layers()
        own = {m for m in graph.find_children("windsock.provider") if "__" not in m.rpartition(".")[2]}
        assert sorted(own - set(covered)) == []

    def test_would_notice_the_core_importing_airflow(self):
        outside = grimp.build_graph("windsock", include_external_packages=True, cache_dir=None)
        importers = outside.find_modules_that_directly_import("airflow")
        assert any(module.startswith("windsock.operators") for module in importers)
        assert not [module for module in importers if module.startswith("windsock.provider")]
