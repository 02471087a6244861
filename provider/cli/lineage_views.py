"""A lineage graph as a tree for the terminal, and as Mermaid, Graphviz DOT and SVG."""

from __future__ import annotations

import json
from collections import defaultdict
from html import escape
from typing import TYPE_CHECKING, Any

from .lineage_layout import HEIGHT, WIDTH, lay_out
from .output import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..metadata.lineage import LineageEdge, LineageGraph, LineageNode

_COLOURS = {
    "artifact": "#2f7ed8",
    "step_run": "#8a63d2",
    "run": "#6b7785",
    "model": "#d9822b",
    "deployment": "#2a9d62",
    "prediction": "#c2427a",
}
_KIND_WORDS = {"step_run": "step", "model": "model version", "run": "run"}
_MARGIN = 24.0


def kind_word(kind: str) -> str:
    return _KIND_WORDS.get(kind, kind)


def tree(graph: LineageGraph, focus: str) -> Any:
    """Rich trees: what ``focus`` comes from, and what became of it. A node is unfolded once."""
    from rich.text import Text

    from .output import group

    nodes = {node.id: node for node in graph.nodes}
    sources: dict[str, list[tuple[str, str]]] = defaultdict(list)
    targets: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for edge in graph.edges:
        sources[edge.target].append((edge.source, edge.label))
        targets[edge.source].append((edge.target, edge.label))
    parts: list[Any] = [_line(nodes[focus], "")] if focus in nodes else []
    for title, links in (("comes from", sources), ("leads to", targets)):
        if links.get(focus):
            parts += ["", Text(title, style="bold underline"), _branch(focus, links, nodes)]
    if len(parts) == 1:
        parts.append(Text("Nothing is recorded before or after it.", style="dim"))
    return group(*parts)


def _branch(focus: str, links: Mapping[str, Sequence[tuple[str, str]]], nodes: Mapping[str, LineageNode]) -> Any:
    from rich.tree import Tree

    root = Tree("", hide_root=True, guide_style="dim")
    seen = {focus}
    stack = [(name, label, root) for name, label in reversed(links[focus])]
    while stack:
        name, label, parent = stack.pop()
        if name not in nodes:
            continue
        line = _line(nodes[name], label)
        again = name in seen and bool(links.get(name))
        if again:
            line.append("  (see above)", style="dim")
        below = parent.add(line)
        seen.add(name)
        if not again:
            stack += [(child, text, below) for child, text in reversed(links.get(name, []))]
    return root


def _line(node: LineageNode, edge: str) -> Any:
    from rich.text import Text

    line = Text()
    line.append(node.label, style=f"bold {_COLOURS.get(node.kind, '')}".strip())
    line.append(f"  {kind_word(node.kind)}", style="dim")
    if edge:
        line.append(f" ({edge})", style="dim")
    facts = "  ".join(f"{key}={shown(value)}" for key, value in _facts(node))
    if facts:
        line.append(f"  {facts}")
    return line


_TELLING = {
    "artifact": ("type", "digest"),
    "step_run": ("state", "cached_from"),
    "run": ("dag_id", "state", "triggered_by"),
    "model": ("aliases", "state"),
    "deployment": ("phase", "url"),
}
"""The facts that fit on a line; a tooltip and the JSON form have all of them."""


def _facts(node: LineageNode) -> list[tuple[str, Any]]:
    wanted = _TELLING.get(node.kind, tuple(node.facts))
    found = [(key, node.facts[key]) for key in wanted if node.facts.get(key)]
    return [(key, str(value)[:19] if key == "digest" else value) for key, value in found]


def mermaid(graph: LineageGraph) -> str:
    """A Mermaid flowchart; GitHub and most wikis draw it."""
    ids = {node.id: f"n{i}" for i, node in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    for node in graph.nodes:
        text = f"{node.label}<br/><small>{kind_word(node.kind)}</small>"
        lines.append(f'  {ids[node.id]}["{_mermaid_text(text)}"]:::{node.kind}')
    for edge in graph.edges:
        if edge.source in ids and edge.target in ids:
            label = f'|"{_mermaid_text(edge.label)}"|' if edge.label else ""
            lines.append(f"  {ids[edge.source]} -->{label} {ids[edge.target]}")
    kinds = sorted({node.kind for node in graph.nodes})
    lines += [f"  classDef {kind} stroke:{_COLOURS.get(kind, '#6b7785')},stroke-width:2px" for kind in kinds]
    return "\n".join(lines) + "\n"


def _mermaid_text(text: str) -> str:
    return text.replace("#", "#35;").replace('"', "#quot;").replace("\n", " ")


def dot(graph: LineageGraph) -> str:
    """A Graphviz digraph."""
    lines = [
        "digraph lineage {",
        "  rankdir=LR;",
        '  node [shape=box, style=rounded, fontname="Helvetica", fontsize=11];',
        '  edge [fontname="Helvetica", fontsize=9, color="#6b7785"];',
    ]
    for node in graph.nodes:
        label = f"{node.label}\n{kind_word(node.kind)}"
        lines.append(f'  {_q(node.id)} [label={_q(label)}, color="{_COLOURS.get(node.kind, "#6b7785")}"];')
    known = {node.id for node in graph.nodes}
    for edge in graph.edges:
        if edge.source in known and edge.target in known:
            label = f" [label={_q(edge.label)}]" if edge.label else ""
            lines.append(f"  {_q(edge.source)} -> {_q(edge.target)}{label};")
    return "\n".join([*lines, "}"]) + "\n"


def _q(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def svg(graph: LineageGraph, focus: str | None = None) -> str:
    """One self-contained SVG that follows the reader's light or dark mode. ``focus`` gets a thicker frame."""
    edges = _drawn_edges(graph)
    layout = lay_out([node.id for node in graph.nodes], [(edge.source, edge.target) for edge in edges])
    width, height = layout.width + 2 * _MARGIN, layout.height + 2 * _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-label="Lineage">',
        f"<style>{_stylesheet()}</style>",
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M0 0 8 4 0 8z" class="tip"/></marker></defs>',
        '<rect class="ground" width="100%" height="100%"/>',
        f'<g transform="translate({_MARGIN:.0f} {_MARGIN:.0f})">',
    ]
    for index, points in layout.routes:
        title = f"<title>{escape(edges[index].label)}</title>" if edges[index].label else ""
        parts.append(f'<path class="edge" marker-end="url(#arrow)" d="{_curve(points)}">{title}</path>')
    boxes = [_box(node, *layout.boxes[node.id], focused=node.id == focus) for node in graph.nodes]
    return "\n".join([*parts, *boxes, "</g>", "</svg>"]) + "\n"


def _drawn_edges(graph: LineageGraph) -> list[LineageEdge]:
    """Without the edges from a run to those of its steps that read something: they would cross everything else, and a
    step's tooltip names its run.
    """
    fed = {edge.target for edge in graph.edges if not edge.source.startswith("run:")}
    return [edge for edge in graph.edges if not (edge.source.startswith("run:") and edge.target in fed)]


def _stylesheet() -> str:
    """Light by default, dark where the reader asks for it. Written out twice: converters know no CSS variables."""
    light = _theme(ground="#fff", box="#f6f8fa", line="#c3cad2", text="#1b2430", dim="#5b6775")
    dark = _theme(ground="#12171d", box="#1c232c", line="#465261", text="#e8edf2", dim="#9aa7b5")
    shapes = (
        ".focus .box{stroke-width:2.5}.edge{fill:none;stroke-width:1.4}.label{font-size:13px;font-weight:600}"
        ".kind{font-size:11px}text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}"
    )
    return f"{shapes}{light}@media(prefers-color-scheme:dark){{{dark}}}"


def _theme(*, ground: str, box: str, line: str, text: str, dim: str) -> str:
    return (
        f".ground{{fill:{ground}}}.box{{fill:{box};stroke:{line}}}.focus .box{{stroke:{text}}}"
        f".edge{{stroke:{dim}}}.tip{{fill:{dim}}}.label{{fill:{text}}}.kind{{fill:{dim}}}"
    )


def _curve(points: Sequence[tuple[float, float]]) -> str:
    """Horizontal at both ends of each piece, so that lines leave and enter boxes straight."""
    x, y = points[0]
    path = [f"M{x:.1f} {y:.1f}"]
    for next_x, next_y in points[1:]:
        middle = (x + next_x) / 2
        path.append(f"C{middle:.1f} {y:.1f} {middle:.1f} {next_y:.1f} {next_x:.1f} {next_y:.1f}")
        x, y = next_x, next_y
    return "".join(path)


def _box(node: LineageNode, x: float, y: float, *, focused: bool) -> str:
    colour = _COLOURS.get(node.kind, "#6b7785")
    facts = "\n".join(f"{key}: {shown(value)}" for key, value in node.facts.items())
    second = " · ".join([kind_word(node.kind), *(shown(v) for _, v in _facts(node)[:2])])
    return (
        f'<g transform="translate({x:.1f} {y:.1f})"{" class=" + chr(34) + "focus" + chr(34) if focused else ""}>'
        f"<title>{escape(f'{node.id}{chr(10)}{facts}')}</title>"
        f'<rect class="box" width="{WIDTH:.0f}" height="{HEIGHT:.0f}" rx="7"/>'
        f'<rect x="6" y="8" width="4" height="{HEIGHT - 16:.0f}" rx="2" fill="{colour}"/>'
        f'<text class="label" x="18" y="20">{escape(_fit(node.label, 22))}</text>'
        f'<text class="kind" x="18" y="36">{escape(_fit(second, 30))}</text></g>'
    )


def _fit(text: str, length: int) -> str:
    """Cut in the middle: both ends of a name tell more than its beginning alone."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[-(length - 1 - head) :]}"
