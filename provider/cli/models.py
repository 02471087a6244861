"""``windsock model``: versions, aliases, promotion, and why a version is where it is."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..errors import RegistryError, WindsockError
from .main import noun
from .model_signatures import new_signing_key, sign, verify
from .narrowing import Metrics, Parameters, Since, Tags, Until, comparisons
from .output import (
    Format,
    Limit,
    Output,
    StackName,
    conclude,
    emit,
    facts,
    group,
    progress,
    read_page,
    record,
    shown,
    state,
    table,
    when,
)
from .references import model_version, split
from .session import session

app = noun("Model versions, aliases and promotion.")

Model = Annotated[str, typer.Argument(help="Name of the model.", show_default=False)]
Version = Annotated[int, typer.Argument(help="Number of the version.", min=1, show_default=False)]
Reason = Annotated[str | None, typer.Option("--reason", help="Kept in the history.", show_default=False)]


@app.command("list")
def list_models(ctx: typer.Context, limit: Limit = 1000, stack: StackName = None, output: Output = Format.TEXT) -> None:
    """Every model, its latest version, and where its aliases point."""
    models = read_page(session(ctx).metadata(stack).models.list(limit))
    emit(
        [record(m) for m in models],
        output,
        lambda: table(
            [(m.name, m.latest_version, m.aliases, when(m.created_at), m.description) for m in models],
            "model",
            "#latest",
            "aliases",
            "since",
            "description",
            empty="No model is registered yet.",
        ),
    )


@app.command("show")
def show(
    ctx: typer.Context,
    *,
    name: Annotated[str, typer.Argument(help="MODEL, or MODEL@VERSION, or MODEL@ALIAS.", show_default=False)],
    version: Annotated[int | None, typer.Option(min=1, help="The same as MODEL@VERSION.", show_default=False)] = None,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """A model with its newest versions, or everything about one version."""
    metadata = session(ctx).metadata(stack)
    name = name if version is None else f"{name}@{version}"
    if split(name)[0] != name:
        _show_version(metadata, name, output)
        return
    metadata.models.get(name)
    aliases = {alias: a.version for alias, a in metadata.models.aliases(name).items()}
    versions = list(metadata.models.versions(name, 20))
    emit(
        {"model": name, "aliases": aliases, "versions": [record(v) for v in versions]},
        output,
        lambda: group(facts({"model": name, "aliases": aliases or "none"}), "", _versions_table(versions, aliases)),
    )


def _show_version(metadata: Any, name: str, output: Format) -> None:
    version = model_version(metadata, name)
    aliases = [a for a, found in metadata.models.aliases(version.model).items() if found.version == version.version]
    emit(
        {**record(version), "aliases": aliases},
        output,
        lambda: facts(
            {
                "model": f"{version.model}@{version.version}",
                "state": state(version.state),
                "aliases": aliases or "none",
                "description": version.description,
                "metrics": version.metrics,
                "parameters": version.parameters,
                "artifact": _ref(version.artifact),
                "digest": version.artifact.get("digest"),
                "uri": version.artifact.get("uri"),
                "evaluation": _ref(version.evaluation),
                "baseline": _ref(version.baseline),
                "inputs": _inputs(version.input_schema),
                "requirements": version.requirements or None,
                "tags": version.tags or None,
                "registered": f"{when(version.created_at)} by {version.created_by or 'unknown'}",
                "run": version.run,
            }
        ),
    )


def _ref(ref: Any) -> str | None:
    return f"{ref['artifact']}@{ref['version']} ({ref['type']})" if ref else None


def _inputs(schema: Any) -> str | None:
    """Names and types of the features, if the schema lists them."""
    features = (schema or {}).get("features")
    if isinstance(features, list):
        return ", ".join(f"{f.get('name')}: {f.get('type')}" for f in features)
    return shown(schema) if schema else None


def _versions_table(versions: list[Any], aliases: dict[str, int]) -> Any:
    names: dict[int, list[str]] = {}
    for alias, number in aliases.items():
        names.setdefault(number, []).append(alias)
    return table(
        [
            (
                v.version,
                state(v.state),
                ", ".join(names.get(v.version, [])),
                v.metrics,
                when(v.created_at),
                v.created_by,
            )
            for v in versions
        ],
        "#version",
        "state",
        "aliases",
        "metrics",
        "registered",
        "by",
    )


@app.command("versions")
def versions(
    ctx: typer.Context,
    *,
    name: Model,
    since: Since = None,
    until: Until = None,
    where: Metrics = None,
    parameter: Parameters = None,
    tag: Tags = None,
    limit: Limit = 100,
    before: Annotated[int | None, typer.Option(help="Only versions before this one.", show_default=False)] = None,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """The versions of a model, newest first."""
    from ..metadata.filters import ModelVersionFilter

    wanted = ModelVersionFilter(
        model=name,
        since=since,
        until=until,
        metrics=comparisons(where),
        parameters=comparisons(parameter),
        tags=comparisons(tag),
    )
    metadata = session(ctx).metadata(stack)
    metadata.models.get(name)
    page = metadata.models.search(wanted, limit, before)
    found = read_page(page, more=f"--before {page.next}")
    aliases = {alias: a.version for alias, a in metadata.models.aliases(name).items()}
    emit([record(v) for v in found], output, lambda: _versions_table(found, aliases))


@app.command("promote")
def promote(
    ctx: typer.Context,
    *,
    name: Model,
    version: Annotated[int | None, typer.Option(help="Version to promote.", min=1, show_default=False)] = None,
    source: Annotated[
        str | None, typer.Option("--from", help="Alias to promote; default: candidate.", show_default=False)
    ] = None,
    target: Annotated[str, typer.Option("--to", help="Alias to move.")] = "production",
    gate: Annotated[
        list[str] | None,
        typer.Option(help="Condition: accuracy>=0.9, better:accuracy:0.01, module:function. May be repeated."),
    ] = None,
    reason: Reason = None,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Move an alias to a version, if every gate passes."""
    here = session(ctx)
    registry = here.stack(stack).model_registry
    try:
        with progress(f"Evaluating {len(gate or [])} gates"):
            result = registry.promote(
                name, version=version, source=source, target=target, gates=gate or [], actor=here.actor, reason=reason
            )
    except WindsockError:
        raise
    except Exception as error:
        if not gate:  # a mistake of ours
            raise
        raise RegistryError(
            f"A gate raised {type(error).__name__}: {error}; nothing was promoted.",
            hint="Correct the gate's function. The traceback: --debug",
        ) from error
    was = f"was version {result.previous}" if result.previous is not None else "was new"
    moved = f'"{name}" {target} is version {result.version} ({was}).'
    emit(
        result.to_dict(),
        output,
        lambda: group(
            *(f"passed  {outcome.detail}" for outcome in result.gates),
            moved if result.changed else f'"{name}" {target} was version {result.version} already; nothing changed.',
        ),
    )


@app.command("alias")
def alias(
    ctx: typer.Context,
    *,
    name: Model,
    alias_name: Annotated[str, typer.Argument(metavar="ALIAS", help="Name of the alias.", show_default=False)],
    version: Annotated[int | None, typer.Argument(help="Version it shall point at.", min=1, show_default=False)] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the alias.")] = False,
    reason: Reason = None,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Point an alias at a version, without gates; or remove it."""
    here = session(ctx)
    if remove == (version is not None):
        raise typer.BadParameter("give a VERSION, or --remove")
    loaded = here.stack(stack)
    if version is None:
        loaded.metadata.models.remove_alias(name, alias_name, actor=here.actor, reason=reason)
        sentence = f'"{name}" has no alias "{alias_name}" any more.'
    else:
        loaded.model_registry.move_alias(name, alias_name, version, actor=here.actor, reason=reason)
        sentence = f'"{name}" {alias_name} is version {version}.'
    conclude({"model": name, "alias": alias_name, "version": version}, output, sentence)


@app.command("archive")
def archive(
    ctx: typer.Context,
    *,
    name: Model,
    version: Version,
    reason: Reason = None,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Take a version out of use. It stays readable and cannot be promoted any more."""
    here = session(ctx)
    here.stack(stack).model_registry.archive(name, version, actor=here.actor, reason=reason)
    conclude({"model": name, "version": version, "state": "archived"}, output, f"{name}@{version} is archived.")


@app.command("history")
def history(
    ctx: typer.Context,
    *,
    name: Model,
    alias_name: Annotated[str | None, typer.Option("--alias", help="Only this alias.", show_default=False)] = None,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Every move of the model's aliases: when, from where to where, who and why."""
    loaded = session(ctx).stack(stack)
    loaded.metadata.models.get(name)
    events = list(loaded.model_registry.history(name, alias_name))
    emit(
        [record(e) for e in events],
        output,
        lambda: table(
            [(when(e.at), e.alias, e.from_version, e.to_version, e.actor, _gates(e.gates), e.reason) for e in events],
            "when",
            "alias",
            "#from",
            "#to",
            "who",
            "gates",
            "reason",
        ),
    )


def _gates(gates: list[dict[str, Any]]) -> str:
    return "; ".join(str(g.get("detail", "")) for g in gates)


@app.command("why")
def why(
    ctx: typer.Context,
    *,
    name: Annotated[str, typer.Argument(help="MODEL, or MODEL@ALIAS; the alias production if left out.")],
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Why a version holds an alias: who, when, past which gates, from which run and which data."""
    model, _, alias_name = split(name)
    explanation = session(ctx).stack(stack).model_registry.explain(model, alias_name or "production")
    emit(explanation.to_dict(), output, lambda: str(explanation))


app.command("sign")(sign)
app.command("verify")(verify)
app.command("new-signing-key")(new_signing_key)
