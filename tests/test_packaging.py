"""What is in the wheel is what is in the tree, it imports on its own, and it is there once."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
FOLDERS = ("provider", "operators", "hooks", "sensors", "plugins")
"""The folders that are part of the library; the rest of the tree is not."""


def source_files():
    """Every file of the project, without what Git ignores."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a Git checkout")
    return [Path(line) for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def tree_packages():
    found = {"windsock"}
    for path in source_files():
        if path.name == "__init__.py" and path.parts[0] in FOLDERS:
            found.add(".".join(("windsock", *path.parts[:-1])))
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that nothing stale from an earlier build gets in and nothing is left behind."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for path in source_files():
        target = source / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, target)
    here = ["--no-isolation"] if find_spec("setuptools") else []
    command = [sys.executable, "-m", "build", "--wheel", *here, "--outdir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


class TestPackages:
    def test_the_list_is_the_tree(self):
        listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
        assert set(listed) == tree_packages()
        assert listed == sorted(listed)

    def test_every_folder_with_code_is_a_package(self):
        folders = {p.parent for p in source_files() if p.suffix == ".py" and p.parts[0] in FOLDERS}
        bare = {f for f in folders if not (ROOT / f / "__init__.py").exists() and "migrations" not in f.parts}
        assert bare == set()

    def test_tests_are_no_package(self):
        # One __init__.py there, and pytest loads the library a second time under the folder's name.
        assert [p for p in source_files() if p.parts[0] == "tests" and p.name == "__init__.py"] == []


class TestWheel:
    def test_holds_every_module_of_the_library_and_nothing_else(self, unpacked):
        inside = {str(p.relative_to(unpacked / "windsock")) for p in (unpacked / "windsock").rglob("*.py")}
        expected = {str(p) for p in source_files() if p.suffix == ".py" and p.parts[0] in FOLDERS} | {"__init__.py"}
        assert inside == expected

    def test_holds_the_data_files(self, unpacked):
        assert (unpacked / "windsock" / "py.typed").exists()
        assert list((unpacked / "windsock" / "provider" / "metadata" / "migrations").rglob("*.py"))

    def test_registers_provider_plugin_and_command(self, unpacked):
        entries = next(unpacked.glob("*.dist-info/entry_points.txt")).read_text()
        for line in ("windsock = windsock.provider.cli.main:main", "[apache_airflow_provider]", "[airflow.plugins]"):
            assert line in entries

    def test_everything_imports_from_it(self, unpacked, tmp_path):
        modules = sorted(
            ".".join(p.relative_to(unpacked).with_suffix("").parts).removesuffix(".__init__")
            for p in (unpacked / "windsock").rglob("*.py")
            if "migrations" not in p.parts and p.name != "__main__.py"
        )
        program = (
            "import importlib, sys\n"
            f"for name in {modules!r}:\n"
            "    module = importlib.import_module(name)\n"
            f"    assert module.__file__.startswith({str(unpacked)!r}), (name, module.__file__)\n"
        )
        environ = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(unpacked),
            "AIRFLOW_HOME": str(tmp_path),
            "HOME": str(tmp_path),
        }
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        assert len(modules) > 100


class TestOneCopy:
    def test_no_module_of_the_library_is_loaded_under_another_name(self):
        import windsock  # noqa: F401

        allowed = ("windsock", "tests", "benchmarks")
        strangers = [
            name
            for name, module in list(sys.modules.items())
            if (file := getattr(module, "__file__", None))
            and Path(file).is_relative_to(ROOT)
            and Path(file).relative_to(ROOT).parts[0] in (*FOLDERS, "__init__.py")
            and not name.startswith(allowed)
        ]
        assert strangers == []


class TestNoPickles:
    def test_no_file_of_the_project_is_a_pickle(self):
        suffixes = {".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle"}
        assert [str(p) for p in source_files() if p.suffix in suffixes] == []
        # Whatever its name: protocol 2 and later begin with these two bytes and end with a full stop.
        hidden = []
        for path in source_files():
            content = (ROOT / path).read_bytes()
            if content[:1] == b"\x80" and content[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and content[-1:] == b".":
                hidden.append(str(path))
        assert hidden == []
