"""``windsock audit``: who changed what, and whether anybody changed the record of it."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import AuditBroken
from .main import noun
from .narrowing import Since, Until  # noqa: TC001 - Typer reads annotations
from .output import (
    Format,
    Limit,
    Output,
    StackName,
    conclude,
    emit,
    facts,
    progress,
    read_page,
    record,
    shown,
    table,
    when,
    write,
    writing,
)
from .session import session

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..metadata.audit_chain import Head

app = noun("Who changed what, and whether anybody changed the record of it.")

Heads = Annotated[
    list[str] | None,
    typer.Option(
        "--head",
        metavar="HEAD|FILE",
        help="What `windsock audit head` said earlier, or a file exported earlier; may be repeated.",
        show_default=False,
    ),
]


@app.command("list")
def list_events(
    ctx: typer.Context,
    *,
    kind: Annotated[
        str | None, typer.Option("--kind", help="Only of this kind: model, deployment…", show_default=False)
    ] = None,
    subject: Annotated[str | None, typer.Option(help="Only of this one; needs --kind.", show_default=False)] = None,
    actor: Annotated[str | None, typer.Option(help="Only by this one: user:ann.", show_default=False)] = None,
    action: Annotated[str | None, typer.Option(help="Only this: promote, register…", show_default=False)] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    before: Annotated[str | None, typer.Option(help="Continue where a page ended.", show_default=False)] = None,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Changes, newest first: who, what, of what, from what, to what, and why."""
    if subject is not None and kind is None:
        raise typer.BadParameter("--subject needs --kind: the same name may be a model and a deployment.")
    from ..metadata.filters import AuditFilter

    wanted = AuditFilter(actor=actor, action=action, subject_kind=kind, subject=subject, since=since, until=until)
    page = session(ctx).metadata(stack).audit.search(wanted, limit, before)
    found = read_page(page, more=f"--before '{page.next}'")
    emit(
        [record(event) for event in found],
        output,
        lambda: table(
            [
                (
                    e.id,
                    when(e.at),
                    e.actor,
                    e.action,
                    f"{e.subject_kind} {e.subject}",
                    shown(e.before),
                    shown(e.after),
                    e.reason or "",
                )
                for e in found
            ],
            "#id",
            "at",
            "who",
            "what",
            "of",
            "before",
            "after",
            "why",
            empty="No change matches." if kind or before else "Nothing was changed yet.",
        ),
    )


@app.command("head")
def head(ctx: typer.Context, stack: StackName = None, output: Output = Format.TEXT) -> None:
    """The end of the chain, to be kept where who owns the database cannot write."""
    found = session(ctx).metadata(stack).audit.head()
    emit({"events": found.events, "hash": found.hash, "head": str(found)}, output, lambda: str(found))


@app.command("export")
def export(
    ctx: typer.Context,
    *,
    to: Annotated[Path | None, typer.Option("--to", help="File to write; else standard output.")] = None,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Every event with its hashes, the oldest first, as JSON Lines: one event a line."""
    audit = session(ctx).metadata(stack).audit
    if to is None:
        for line in _lines(audit.events()):
            write(line)
        return
    count, last = 0, None
    part = to.with_name(f".{to.name}.part")
    with writing(to, AuditBroken), progress("Exporting", total=audit.head().events) as advance:
        with part.open("w", encoding="utf-8") as file:
            for event in audit.events():
                file.write(_line(event))
                count, last = count + 1, event["hash"]
                advance(1, None)
        part.replace(to)
    told = f"{count}:{last}" if last else "0"
    conclude(
        {"path": str(to), "events": count, "head": told}, output, f"{count} events are in {to}; their head is {told}"
    )


@app.command("verify")
def verify(
    ctx: typer.Context,
    *,
    file: Annotated[
        Path | None, typer.Argument(help="An exported file; the database if left out.", show_default=False)
    ] = None,
    heads: Heads = None,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Compute every hash anew; exit code 1 names the first event that was changed, removed, inserted or moved.

    Events cut off at the end show only against a head that was kept elsewhere: --head.
    """
    from ..metadata.audit_chain import Chain

    kept = [_head(text) for text in heads or ()]
    with progress("Verifying"):
        if file is None:
            found = session(ctx).metadata(stack).audit.verify(*kept)
        else:
            chain = Chain(kept)
            chain.feed(_exported(file))
            found = chain.end()
    where = "the database" if file is None else str(file)
    data = {"ok": True, "where": where, "events": found.events, "head": str(found)}
    emit(
        data,
        output,
        lambda: facts(
            {"chain": f"whole: {found.events} events in {where}", "head": str(found), "kept heads": len(kept) or None}
        ),
    )


def _lines(events: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    return (_line(event) for event in events)


def _line(event: Mapping[str, Any]) -> str:
    at = event["at"].astimezone(timezone.utc).isoformat(timespec="microseconds")
    return json.dumps({**event, "at": at}, ensure_ascii=False, separators=(",", ":")) + "\n"


def _head(text: str) -> Head:
    """A head, or the end of an exported file."""
    from ..metadata.audit_chain import Chain
    from ..metadata.audit_chain import Head as AuditHead

    path = Path(text)
    if not path.is_file():
        return AuditHead.parse(text)
    chain = Chain()
    chain.feed(_exported(path))
    return chain.end()


_NEEDED = {"id", "at", "actor", "action", "subject_kind", "subject", "before", "after", "reason", "previous", "hash"}


def _exported(file: Path) -> Iterator[Mapping[str, Any]]:
    """The events of an export. Raises ``AuditBroken`` for a line that is none."""
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    event = json.loads(line)
                    if not isinstance(event, dict) or event.keys() != _NEEDED:
                        raise ValueError("other fields than an event has")
                    datetime.fromisoformat(event["at"])
                except (ValueError, TypeError) as error:
                    raise AuditBroken(
                        f"Line {number} of {file} is no audit event: {error}.",
                        hint="Export it again: windsock audit export --to FILE",
                        number=number,
                        event=None,
                    ) from None
                yield event
    except (OSError, UnicodeDecodeError) as error:
        raise AuditBroken(f"{file} cannot be read: {error}.", hint="windsock audit export --to FILE") from None
