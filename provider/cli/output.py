"""What the commands print: data to standard output as text or JSON, everything else to standard error.

``--output json`` prints exactly one JSON document: a list for a ``list``, an object for a ``show``. Rich is imported
only when something is drawn.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import datetime, timezone
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console, RenderableType

    from ..errors import WindsockError

DRIFT_FOUND = 3
"""Exit code of a command that found drift (0: none, 1: error, 2: wrong usage)."""
NOTHING_COMPARED = 4
"""Exit code of a check that had nothing to compare: "no drift" would be a lie."""


class Format(str, Enum):
    TEXT = "text"
    JSON = "json"


Output = Annotated[Format, typer.Option("--output", help="Print text for people or JSON for programs.")]
StackName = Annotated[
    str | None,
    typer.Option("--stack", help="Stack to use instead of the active one.", show_default=False),
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many rows at most.")]


def emit(data: Any, output: Format, text: RenderableType | Callable[[], RenderableType | None] | None = None) -> None:
    """Print ``data`` as JSON, or else ``text`` (what to draw, or a function that makes it)."""
    if output is Format.JSON:
        write(json_text(data))
        return
    drawn = text() if callable(text) else text
    if drawn is not None:
        draw(drawn)


def conclude(data: Any, output: Format, sentence: str) -> None:
    """The end of a command that changes something: a sentence on standard error, or ``data`` as JSON."""
    if output is Format.JSON:
        write(json_text(data))
    else:
        say(sentence)


def draw(drawn: RenderableType) -> None:
    """Print to standard output: fitted to a terminal, and in a pipe uncut: a line stays a line for ``grep``."""
    if sys.stdout.isatty():
        console().print(drawn)
        return
    write(plain(drawn))


def plain(drawn: RenderableType) -> str:
    """As text without colours, as wide as it needs to be."""
    from rich.console import Console

    wide = Console(width=100_000, no_color=True, highlight=False, force_terminal=False)
    with wide.capture() as captured:
        wide.print(drawn, soft_wrap=True)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def json_text(data: Any) -> str:
    """One JSON document. Not-a-number is null: JSON has no other word for it."""
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z
    return orjson.dumps(data, default=_plain, option=options).decode() + "\n"


def write(text: str) -> None:
    """To standard output, at once. A reader that has gone (``… | head``) is no error, and changes no exit code."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def writing(path: Path, kind: type[WindsockError]) -> Iterator[None]:
    """For a file that the user named: what the system refuses becomes an error of ``kind``."""
    try:
        yield
    except OSError as error:
        raise kind(
            f"{path} cannot be written: {error.strerror or error}.",
            hint="Check that its folder is there, that you may write to it, and the space on the disk.",
        ) from error


@contextmanager
def aside() -> Iterator[None]:
    """What somebody else's code prints goes to standard error, that of its child processes as well."""
    sys.stdout.flush()
    with redirect_stdout(sys.stderr):
        try:
            copy = os.dup(1)
        except OSError:  # closed
            yield
            return
        try:
            os.dup2(2, 1)
            yield
        finally:
            os.dup2(copy, 1)
            os.close(copy)


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="python")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    if isinstance(value, bytes):
        return value.hex()
    if hasattr(value, "item"):  # a number of numpy's
        return value.item()
    return str(value)


def record(value: Any) -> dict[str, Any]:
    """A metadata record as a dict."""
    return value.model_dump(mode="python") if hasattr(value, "model_dump") else dict(value)


def console(*, stderr: bool = False) -> Console:
    """A Rich console on one of the two streams, as they are now."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, soft_wrap=not stream.isatty(), highlight=False)


def table(rows: Iterable[Sequence[Any]], *columns: str, title: str | None = None, empty: str = "Nothing here.") -> Any:
    """A Rich table; a column whose name begins with ``#`` is right-aligned."""
    from rich.table import Table
    from rich.text import Text

    listed = list(rows)
    if not listed:
        return Text(empty, style="dim")
    drawn = Table(
        title=title, box=None, title_justify="left", header_style="bold", pad_edge=False, padding=(0, 2, 0, 0)
    )
    for column in columns:
        numeric = column.startswith("#")
        drawn.add_column(column.lstrip("#"), justify="right" if numeric else "left", no_wrap=numeric)
    for row in listed:
        drawn.add_row(*(cell if isinstance(cell, Text) else Text(shown(cell)) for cell in row))
    return drawn


def facts(pairs: Mapping[str, Any]) -> Any:
    """Names and values under each other; a value of None is left out."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    drawn.add_column(style="bold", no_wrap=True)
    drawn.add_column()
    for name, value in pairs.items():
        if value is not None:
            drawn.add_row(name, value if hasattr(value, "__rich_console__") else Text(shown(value)))
    return drawn


def group(*parts: Any) -> Any:
    """Several renderables, one below the other; None is left out."""
    from rich.console import Group

    return Group(*(part for part in parts if part is not None))


def state(text: str) -> Any:
    """A state in its colour."""
    from rich.text import Text

    return Text(text, style=_STATE_STYLE.get(text, ""))


_STATE_STYLE = {
    "ok": "green",
    "success": "green",
    "ready": "green",
    "cached": "cyan",
    "running": "yellow",
    "pending": "yellow",
    "warn": "yellow",
    "skipped": "dim",
    "archived": "dim",
    "degenerate": "magenta",
    "failed": "red",
    "drift": "red",
    "error": "red",
}


def shown(value: Any) -> str:
    """A value as a cell: times in UTC, six significant digits, mappings as ``a=1, b=2``."""
    if value is None or value in ({}, [], ()):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={shown(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(shown(v) for v in value)
    if isinstance(value, datetime):
        return when(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def when(moment: datetime | None) -> str:
    if moment is None:
        return "-"
    aware = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return aware.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")


def bytes_shown(size: float | None) -> str:
    """``1.5 MiB``."""
    if size is None:
        return "-"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def say(message: str, *, style: str | None = None) -> None:
    """A message for people, to standard error."""
    console(stderr=True).print(message, style=style, markup=False)


def read_page(page: Any, *, more: str = "--limit") -> list[Any]:
    """The items of a page; says on standard error when there are more."""
    items = list(getattr(page, "items", page))
    if getattr(page, "next", None) is not None:
        say(f"The newest {len(items)} are shown; see more with {more}.", style="dim")
    return items


Advance = Callable[[float, "str | None"], None]


@contextmanager
def progress(description: str, total: float | None = None) -> Iterator[Advance]:
    """A progress bar on standard error, when that is a terminal. Yields ``advance(amount, description or None)``."""
    if not sys.stderr.isatty():
        yield _quietly
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)

        def advance(amount: float, text: str | None) -> None:
            bar.update(task, advance=amount, description=text or description)

        yield advance


def _quietly(amount: float, text: str | None) -> None:
    """No terminal, no bar."""
