"""A pipeline as a Mermaid flowchart, for the DAG's documentation and for READMEs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..pipelines.expressions import write
from ..pipelines.spec import SINGLE, leaves

if TYPE_CHECKING:
    from ..pipelines.spec import PipelineSpec

LIMIT = 60
"""Larger graphs are unreadable as a picture and would fill the serialized DAG."""


def mermaid(spec: PipelineSpec) -> str | None:
    """The flowchart, data flowing down; None for more than :data:`LIMIT` steps."""
    if len(spec.steps) > LIMIT:
        return None
    ids = {name: f"n{i}" for i, name in enumerate((*spec.by_name, *spec.conditions_by_name))}
    lines = ["flowchart TD"]
    for step in spec.steps:
        shape = ("([", "])") if step.teardown else ("[[", "]]") if step.mapped else ("[", "]")
        lines.append(f"  {ids[step.name]}{shape[0]}{_quoted(step.name)}{shape[1]}")
    lines += [
        f"  {ids[condition.name]}{{{{{_quoted(write(condition.expression, short=True))}}}}}"
        for condition in spec.conditions
    ]
    for step in spec.steps:
        edges: dict[str, None] = {}
        for _, argument in step.arguments:
            for leaf in leaves(argument):
                if "step" in leaf:
                    label = "" if leaf["output"] == SINGLE else f"|{_quoted(leaf['output'])}|"
                    edges[f"  {ids[leaf['step']]} -->{label} {ids[step.name]}"] = None
        edges.update({f"  {ids[name]} -.-> {ids[step.name]}": None for name in step.after})
        if step.condition is not None:
            edges[f"  {ids[step.condition]} -.-> {ids[step.name]}"] = None
        lines += edges
    for condition in spec.conditions:
        sources = [*condition.upstream(), *([condition.parent] if condition.parent else [])]
        lines += [f"  {ids[name]} -.-> {ids[condition.name]}" for name in sources]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', "#quot;") + '"'
