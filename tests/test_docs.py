"""The documentation is true: what readers paste is run, links lead somewhere, names exist, the reference is current."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from docs_lab import PAGES, ROOT, Session, blocks

if TYPE_CHECKING:
    from pathlib import Path

FOLLOWED = [page for page in PAGES if any(block.directives for block in blocks(page))]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=name)


class TestPages:
    @pytest.mark.slow
    @pytest.mark.timeout(1800)
    @pytest.mark.parametrize("page", FOLLOWED, ids=name)
    def test_can_be_followed(self, page: Path, tmp_path: Path) -> None:
        session = Session(tmp_path)
        try:
            for block in blocks(page):
                session.follow(block)
        finally:
            session.close()

    def test_the_ones_that_promise_it_are_followed(self) -> None:
        assert {"README.md", "docs/tutorial.md"} <= {name(page) for page in FOLLOWED}

    @every_page
    def test_python_can_be_parsed(self, page: Path) -> None:
        for block in blocks(page):
            if block.language == "python" and "reference" not in page.parts:
                try:
                    ast.parse(block.text)
                except SyntaxError as error:
                    pytest.fail(f"{name(page)}, line {block.line + (error.lineno or 0)}: {error}")

    @every_page
    def test_links_lead_somewhere(self, page: Path) -> None:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            found = (page.parent / path).resolve() if path else page
            assert found.exists(), f"{name(page)} links to {target}"
            if anchor and found.suffix == ".md":
                assert anchor in anchors(found), f"{name(page)} links to {target}"

    def test_are_all_in_the_index(self) -> None:
        index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
        for page in (ROOT / "docs").rglob("*.md"):
            path = str(page.relative_to(ROOT / "docs"))
            assert path == "README.md" or f"]({path})" in index, f"docs/README.md does not list {path}"


def anchors(page: Path) -> set[str]:
    """GitHub's anchors of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()).replace(" ", "-") for title in titles}


def command_lines(page: Path) -> list[list[str]]:
    """Every ``windsock …`` of the bash blocks, as words."""
    found = []
    for block in blocks(page):
        if block.language in {"bash", "console"}:
            for line in block.text.replace("\\\n", " ").splitlines():
                plain = re.sub(r"^\$ ", "", line.strip())
                for part in re.split(r"\s+(?:\||&&|;|2?>)\s*", plain):
                    try:
                        words = shlex.split(part, comments=True)
                    except ValueError:
                        continue  # a quotation over lines or a pipe: the test that follows the page runs it
                    while words and re.match(r"[A-Z_]+=", words[0]):
                        words = words[1:]
                    words = words[1:] if words[:2] == ["airflow", "windsock"] else words
                    if words and words[0] == "windsock":
                        found.append(words[1:])
    return found


class TestCommandsInTheDocs:
    @every_page
    def test_exist_with_their_options(self, page: Path) -> None:
        for words in command_lines(page):
            if words and words[0] not in {"--version", "--install-completion"}:
                check(words, name(page))

    def test_are_found(self) -> None:
        assert sum(len(command_lines(page)) for page in PAGES) > 40


def check(words: list[str], where: str) -> None:
    from windsock.provider.cli.main import _group

    command: Any = _group().get_command(None, words[0])
    rest = words[1:]
    if hasattr(command, "commands"):
        assert rest, f"{where}: windsock {words[0]} does nothing by itself"
        assert rest[0] in command.commands, f"{where}: there is no windsock {words[0]} {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    known = {flag for p in command.params for flag in (*p.opts, *p.secondary_opts)} | {"--debug", "--help", "-h"}
    for word in rest:
        if word.startswith("-") and len(word) > 1:
            assert word.partition("=")[0] in known, f"{where}: windsock {' '.join(words)} has no {word}"


class TestNamesInTheDocs:
    @every_page
    def test_settings_exist(self, page: Path) -> None:
        from windsock.provider.info import PROVIDER_INFO

        options = PROVIDER_INFO["config"]["windsock"]["options"]
        # Read by the code, but no options of a user's installation.
        others = {"WINDSOCK_API_TOKEN", "WINDSOCK_DEBUG", "WINDSOCK_TOKEN"}
        known = {*(f"WINDSOCK_{o.upper()}" for o in options), *others}
        text = page.read_text(encoding="utf-8")
        for found in re.findall(r"\bWINDSOCK_[A-Z_]+[A-Z]\b", text):
            assert found in known or found.startswith("WINDSOCK_DB_"), f"{name(page)}: {found}"
        for found in re.findall(r"AIRFLOW__WINDSOCK__([A-Z_]+)", text):
            assert found.lower() in options, f"{name(page)}: AIRFLOW__WINDSOCK__{found}"

    def test_each_error_has_advice(self) -> None:
        from windsock.provider import errors

        advice = (ROOT / "docs" / "how-to" / "troubleshooting.md").read_text(encoding="utf-8")
        leaves = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.WindsockError)]
        missing = [e.__name__ for e in leaves if not e.__subclasses__() and f"`{e.__name__}`" not in advice]
        assert missing == []

    @every_page
    def test_imports_work(self, page: Path) -> None:
        from importlib import import_module

        for block in blocks(page):
            if block.language != "python" or "reference" in page.parts:
                continue
            for node in ast.walk(ast.parse(block.text)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "windsock":
                    module = import_module(str(node.module))
                    missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
                    assert not missing, f"{name(page)}, line {block.line}: {node.module} has no {missing}"

    def test_extras_exist(self) -> None:
        text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        section = text.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
        known = set(re.findall(r"^([a-z-]+) =", section, flags=re.MULTILINE))
        for page in PAGES:
            for asked in re.findall(r"airflow-provider-windsock\[([a-z,-]+)\]", page.read_text(encoding="utf-8")):
                assert set(asked.split(",")) <= known, f"{name(page)}: [{asked}]"


class TestTheWorkflow:
    def test_runs_what_can_be_run_anywhere_with_pinned_actions(self) -> None:
        workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
        steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
        assert all(re.search(r"@v\d+$", step["uses"]) for step in steps if "uses" in step)
        assert {step["run"] for step in steps if "run" in step} == {".ci/run", "make lint PYTHON=python"}
        project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        offered = re.findall(r"Programming Language :: Python :: (3\.\d+)", project)
        assert workflow["jobs"]["everything"]["strategy"]["matrix"]["python"] == offered
        assert workflow["permissions"] == {"contents": "read"}


class TestTheReference:
    def test_is_current(self) -> None:
        done = subprocess.run(
            [sys.executable, str(ROOT / "docs" / "reference.py"), "--check"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def test_has_every_public_name(self) -> None:
        import windsock

        text = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
        missing = [n for n in windsock.__all__ if not n.startswith("_") and f"### {n}\n" not in text]
        assert missing == []
