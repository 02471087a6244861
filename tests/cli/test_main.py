"""The door: start-up time, exit codes, errors in one paragraph, hints that can be typed."""

from __future__ import annotations

import ast
import importlib
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from windsock.provider.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "windsock.provider.cli.main"]


def seconds(command, repeat=7):
    taken = []
    for _ in range(repeat):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def verbs(noun):
    module, attribute, _ = COMMANDS[noun]
    command = typer.main.get_command(getattr(importlib.import_module(module, "windsock.provider.cli"), attribute))
    return getattr(command, "commands", {})


class TestStart:
    def test_version_is_quick(self):
        script = Path(sys.executable).with_name("windsock")
        assert seconds([str(script), "--version"]) - seconds([sys.executable, "-c", "pass"]) < 0.15

    @pytest.mark.parametrize("noun", COMMANDS)
    def test_help_of_a_noun_imports_nothing_heavy(self, noun, tmp_path):
        program = (
            "import sys\n"  # pydantic is missing in the list below: Typer imports it for itself
            "from windsock.provider.cli.main import main\n"
            f"code = main([{noun!r}, '--help'])\n"
            "heavy = {'pandas', 'sklearn', 'pyarrow', 'numpy', 'sqlalchemy', 'airflow', 'uvicorn', 'yaml'}\n"
            "print(code, sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.stderr.strip() == "0 []"

    def test_completion_offers_the_nouns(self, tmp_path):
        script = Path(sys.executable).with_name("windsock")
        environ = {**os.environ, "_WINDSOCK_COMPLETE": "complete_bash", "COMP_WORDS": "windsock de", "COMP_CWORD": "1"}
        done = subprocess.run([str(script)], env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stdout.split() == ["deployment", "demo"]


class TestExitCodes:
    def test_help(self, windsock):
        done = windsock("--help")
        assert done.code == 0
        assert all(noun in done.out for noun in COMMANDS)

    def test_an_unknown_command_is_a_usage_mistake(self, windsock):
        done = windsock("modle", "list")
        assert done.code == 2
        assert 'Did you mean "model"?' in " ".join(done.err.replace("│", " ").split())

    def test_an_unknown_option(self, windsock):
        assert windsock("stack", "list", "--nope").code == 2

    def test_an_error(self, windsock):
        assert windsock("stack", "show", "nowhere").code == 1

    def test_ctrl_c(self, tmp_path):
        program = (
            "import signal, time, sys\n"
            # what a shell starts in the background ignores Ctrl-C, and so would this child of it
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "from windsock.provider.cli import stacks\n"
            "from windsock.provider.stack import Stack\n"
            "def slow(*a, **k): print('waiting', flush=True); time.sleep(60)\n"
            "Stack.names = slow\n"
            "from windsock.provider.cli.main import main\n"
            "sys.exit(main(['stack', 'list']))\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
        ) as process:
            assert process.stdout.readline() == b"waiting\n"
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
        assert process.returncode == 130
        assert b"Traceback" not in err

    def test_a_reader_that_hangs_up_is_no_error(self, tmp_path):
        environ = {**os.environ, "WINDSOCK_HOME": str(tmp_path)}
        command = (
            f"{sys.executable} -m windsock.provider.cli.main stack show --output json | true; exit ${{PIPESTATUS[0]}}"
        )
        done = subprocess.run(
            ["bash", "-c", command], env=environ, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""


class TestErrors:
    def test_are_one_paragraph_and_a_hint(self, windsock):
        done = windsock("stack", "show", "nowhere")
        lines = done.err.strip().splitlines()
        assert lines[0].startswith('StackNotFound: Stack "nowhere" is not known')
        assert lines[1:] == ["Known: local."]
        assert done.out == ""

    @pytest.mark.parametrize("place", [0, 3])
    def test_debug_shows_where_from_anywhere_on_the_line(self, windsock, place):
        words = ["stack", "show", "nowhere"]
        words.insert(place, "--debug")
        done = windsock(*words)
        assert done.code == 1
        assert "Traceback (most recent call last)" in done.err
        assert "StackNotFound: " in done.err

    def test_something_unexpected_is_told_without_a_traceback(self, windsock, monkeypatch):
        from windsock.provider.stack import Stack

        monkeypatch.setattr(Stack, "names", lambda settings: 1 / 0)
        done = windsock("stack", "list")
        assert done.code == 1
        assert done.err.splitlines()[0] == "Error: ZeroDivisionError: division by zero"
        assert "--debug" in done.err
        assert "Traceback" not in done.err


class TestHints:
    def test_every_command_that_the_library_recommends_exists(self):
        wrong = []
        for folder in ("provider", "operators", "hooks", "sensors", "plugins"):
            for path in (ROOT / folder).rglob("*.py"):
                if path.parent.name == "cli":
                    continue  # docstrings name a noun alone
                texts = [
                    n.value
                    for n in ast.walk(ast.parse(path.read_text()))
                    if isinstance(n, ast.Constant) and isinstance(n.value, str)
                ]
                for text in texts:
                    wrong += [f"{path.relative_to(ROOT)}: {w}" for w in recommended(text) if not exists(w)]
        assert wrong == []


def recommended(text):
    """``windsock noun [verb]`` where the text gives it as something to run."""
    found = re.findall(r"(?:Run: |: |`|“)windsock ([a-z]+(?: [a-z][a-z-]*)?)", text)
    return [words.split() for words in found if words.split()[0] in COMMANDS or " " in words]


def exists(words):
    if words[0] not in COMMANDS:
        return False
    known = verbs(words[0])
    return not known or (len(words) > 1 and words[1] in known)


def test_main_reads_the_command_line_by_default(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["windsock", "--version"])
    assert main() == 0
    assert capsys.readouterr().out.startswith("windsock ")


class TestJson:
    def test_every_command_has_it(self):
        """But those that run on until they are stopped, that write a file, or that speak another program's language."""
        without = set()
        for name, (module, attribute, _) in COMMANDS.items():
            command = typer.main.get_command(
                getattr(importlib.import_module(module, "windsock.provider.cli"), attribute)
            )
            verbs = {f"{name} {verb}": found for verb, found in getattr(command, "commands", {}).items()}
            for words, found in (verbs or {name: command}).items():
                if not any(option.name == "output" for option in found.params):
                    without.add(words)
        for_prometheus = {f"metrics {verb}" for verb in ("dashboard", "forget", "push", "rules", "show", "write")}
        assert without == {"demo", "deployment logs", "drift baseline", "serve", *for_prometheus}

    def test_of_what_changes_something(self, windsock, trained):
        said = [
            windsock("stack", "use", "local", "--output", "json"),
            windsock("model", "alias", "prices", "blue", "1", "--output", "json"),
            windsock("model", "alias", "prices", "blue", "--remove", "--output", "json"),
            windsock("model", "alias", "prices", "candidate", "--remove", "--output", "json"),
            windsock("model", "archive", "prices", "1", "--output", "json"),
        ]
        assert [done.code for done in said] == [0] * 5
        assert [done.err for done in said] == [""] * 5
        assert said[1].json == {"model": "prices", "alias": "blue", "version": 1}
        assert said[2].json["version"] is None
        assert said[4].json["state"] == "archived"
