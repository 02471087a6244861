"""YAML files whose values know their lines, so that an error can say ``stacks/production.yaml, line 9``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .errors import WindsockError


@dataclass(frozen=True)
class YamlDocument:
    """The data of one YAML file, and the line (from 1) at which each key or item stands."""

    data: Any
    file: str
    lines: Mapping[tuple[str | int, ...], int] = field(default_factory=dict, repr=False)

    def line(self, *path: str | int) -> int:
        """The line of ``path``, or of the nearest thing around it that has one."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def where(self, *path: str | int) -> str:
        """``stacks/production.yaml, line 9``."""
        return f"{self.file}, line {self.line(*path)}"


def read_yaml(path: Path, *, error: type[WindsockError]) -> YamlDocument:
    """Read one file. Raises ``error``, naming file and line, for YAML that cannot be read or repeats a key."""
    file = shown_path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise error(
            f"{file} is not there.", hint=f"Check the path; the working directory is {Path.cwd()}.", file=file
        ) from None
    except OSError as problem:
        raise error(
            f"{file} cannot be read: {problem.strerror}.", hint="Check the path and its rights.", file=file
        ) from None
    except UnicodeDecodeError as problem:
        raise error(
            f"{file} cannot be read: byte {problem.start} is no UTF-8.", hint="Save it again as UTF-8.", file=file
        ) from None
    return parse_yaml(text, file=file, error=error)


def parse_yaml(text: str, *, file: str, error: type[WindsockError]) -> YamlDocument:
    """Like :func:`read_yaml`, of a text; ``file`` is only the name for messages."""
    import yaml

    kind = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader = kind(text)
    try:
        if len(text) > _MAY_BE_DEEP:
            _check_depth(yaml.parse(text, kind))
        node = loader.get_single_node()
        lines: dict[tuple[str | int, ...], int] = {}
        if node is not None:
            _collect(node, (), lines, (), file=file, error=error)
        data = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as problem:
        line = problem.problem_mark.line + 1 if problem.problem_mark else 1
        what = " ".join(filter(None, (problem.context, problem.problem)))
        raise error(
            f"{file}, line {line}: this is not YAML: {what}.",
            hint="Check the indentation and the colons around that line.",
            file=file,
            line=line,
        ) from None
    except yaml.YAMLError as problem:
        raise error(f"{file}: this is not YAML: {problem}.", file=file, line=1) from None
    except RecursionError:
        raise error(
            f"{file} cannot be read: it is nested too deeply.", hint="Write it flatter.", file=file, line=1
        ) from None
    finally:
        loader.dispose()
    return YamlDocument(data, file, lines)


_MAY_BE_DEEP = 5_000
"""Characters of a text that could be nested so deeply that libyaml, which recurses, would end the process."""
_DEEPEST = 500


def _check_depth(events: Iterable[Any]) -> None:
    """Raises ``RecursionError``, as Python's own parser does."""
    depth = 0
    for event in events:
        name = type(event).__name__
        if name in {"MappingStartEvent", "SequenceStartEvent"}:
            depth += 1
            if depth > _DEEPEST:
                raise RecursionError
        elif name in {"MappingEndEvent", "SequenceEndEvent"}:
            depth -= 1


def shown_path(path: Path) -> str:
    """``path`` as a person would type it: relative when it is below the working directory."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


_MANY = 100_000
"""Far more values than a file that a person wrote has, and soon reached by aliases of aliases."""


def _collect(
    node: Any,
    path: tuple[str | int, ...],
    lines: dict[tuple[str | int, ...], int],
    above: tuple[Any, ...],
    *,
    file: str,
    error: type[WindsockError],
) -> None:
    start = node.start_mark.line + 1
    if any(node is outer for outer in above):
        raise error(
            f"{file}, line {start}: what begins here contains itself, by an alias (*) of its own anchor (&).",
            hint="Write out what the alias stands for.",
            file=file,
            line=start,
        )
    if len(lines) > _MANY:
        raise error(
            f"{file}, line {start}: there are more than {_MANY:,} values.",
            hint="Are there aliases of aliases? Write out what they stand for.",
            file=file,
            line=start,
        )
    lines.setdefault(path, start)
    above = (*above, node)
    if node.id == "mapping":
        for key, value in node.value:
            below = (*path, str(key.value))
            line = key.start_mark.line + 1
            if below in lines:
                raise error(
                    f'{file}, line {line}: "{key.value}" stands twice, first on line {lines[below]}.',
                    hint="YAML would silently keep the last one: remove one of them.",
                    file=file,
                    line=line,
                )
            lines[below] = line
            _collect(value, below, lines, above, file=file, error=error)
    elif node.id == "sequence":
        for index, value in enumerate(node.value):
            _collect(value, (*path, index), lines, above, file=file, error=error)
