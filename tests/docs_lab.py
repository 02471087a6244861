"""Reads the documentation as a test does: Markdown pages, their fenced blocks, and what is to be done with each.

A comment before a block, invisible to readers, says what a test does with it::

    <!-- file: growers.py -->        write the block to that file
    <!-- run -->                     run it (bash or python), expect exit code 0
    <!-- run: exit 3 -->             … another exit code
    <!-- shows -->                   each line of the block stands in what the last run printed; … is anything

``<!-- instead: command -->`` runs the command in place of a block that a test cannot run as it is (one that waits for
a person), and ``<!-- also: command -->`` runs one more. The blocks of a page share a folder and run in order.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
        *(ROOT / "docs").rglob("*.md"),
    ]
)
_DIRECTIVE = re.compile(r"<!-- (file|run|shows|instead|also)(?:: (.*?))? -->")


@dataclass
class Block:
    """A fenced block: its language, its text, the directives above it, and the line that it begins in."""

    language: str
    text: str
    directives: list[tuple[str, str]]
    line: int

    def __bool__(self) -> bool:
        return bool(self.directives)


def blocks(page: Path) -> Iterator[Block]:
    """All fenced blocks, in order. A directive without a block (``also``) gives one without text."""
    pending: list[tuple[str, str]] = []
    fence, language, start = None, "", 0
    text: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if fence is not None:
            if line.strip() == fence:
                yield Block(language, "\n".join(text) + "\n", pending, start)
                fence, pending, text = None, [], []
            else:
                text.append(line)
        elif opened := re.match(r"(`{3,})(\w*)", line):
            fence, language, start = opened[1], opened[2], number
        elif found := _DIRECTIVE.fullmatch(line.strip()):
            directive = (found[1], found[2] or "")
            if found[1] == "also":
                yield Block("", "", [directive], number)
            else:
                pending.append(directive)


@dataclass
class Session:
    """One page being followed in a folder of its own, with the environment that a reader has after installing."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    printed: str = ""

    def __post_init__(self) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "WINDSOCK"))}
        here = str(Path(sys.executable).parent)
        self.environment = {
            **kept,
            "PATH": os.pathsep.join([here, kept.get("PATH", "")]),
            "HOME": str(self.folder),
            "USER": "ada",
            "COLUMNS": "160",
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            **self.environment,
        }

    def follow(self, block: Block) -> None:
        for name, argument in block.directives:
            if name == "file":
                target = self.folder / argument
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(block.text, encoding="utf-8")
            elif name == "shows":
                self._shows(block)
            elif name in {"instead", "also"}:
                self._run(["bash", "-euo", "pipefail", "-c", argument], block, 0)
            else:
                program = [sys.executable, "-c"] if block.language == "python" else ["bash", "-euo", "pipefail", "-c"]
                self._run([*program, block.text], block, int(argument.removeprefix("exit") or 0))

    def _run(self, command: list[str], block: Block, expected: int) -> None:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=600, check=False
        )
        self.printed = done.stdout + done.stderr
        said = f"line {block.line} ended with {done.returncode}:\n{command[-1]}\n{self.printed[-4000:]}"
        assert done.returncode == expected, said

    def _shows(self, block: Block) -> None:
        for line in filter(None, map(str.strip, block.text.splitlines())):
            pattern = ".*".join(r"\s+".join(map(re.escape, part.split())) for part in line.split("…"))
            assert re.search(pattern.replace(".*", r"\s*.*"), self.printed), (
                f"line {block.line}: no {line!r} in\n{self.printed}"
            )

    def close(self) -> None:
        """Stop what the page deployed."""
        if (self.folder / "airflow").exists():
            stop = (
                "for name in $(windsock deployment list --output json"
                " | python -c 'import json, sys; print(*(d[\"name\"] for d in json.load(sys.stdin)))');"
                ' do windsock deployment delete "$name"; done'
            )
            subprocess.run(
                ["bash", "-c", stop], cwd=self.folder, env=self.environment, capture_output=True, check=False
            )
