"""Where each node of a lineage graph goes: columns from left to right along the flow of data.

The classic layered drawing (Sugiyama, Tagawa and Toda, 1981): break cycles, put each node one column after its last
source, cut long edges into pieces with a bend in every column that they cross, and order each column by the median
of its neighbours until fewer lines cross. Standard library only.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 210.0, 46.0
GAP_X, GAP_Y, BEND = 70.0, 18.0, 10.0
SWEEPS = 8


@dataclass(frozen=True)
class Layout:
    """``boxes``: upper left corner of each node. ``routes``: the points of each edge, from its source to its target."""

    boxes: Mapping[str, tuple[float, float]]
    routes: Sequence[tuple[int, Sequence[tuple[float, float]]]]
    width: float
    height: float


def lay_out(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> Layout:
    """Place ``nodes``. Edges to nodes that are not in the list, and loops, are left out. Deterministic."""
    known = set(nodes)
    kept = [(i, s, t) for i, (s, t) in enumerate(edges) if s in known and t in known and s != t]
    forward = _without_cycles(nodes, [(s, t) for _, s, t in kept])
    rank = _ranks(nodes, forward)
    columns, chains = _columns(nodes, kept, rank)
    links = [pair for _, chain in chains for pair in pairwise(chain)]
    _order(columns, links)
    at, height = _place(columns)
    routes = []
    for index, chain in chains:
        points = [_end(at, chain[0], right=rank[chain[0]] <= rank[chain[-1]])]
        for name in chain[1:-1]:  # straight across the column, so that lines bend in the gaps and cross no box
            x, y = at[name][0], at[name][1] + BEND / 2
            points += [(x, y), (x + WIDTH, y)] if rank[chain[0]] <= rank[chain[-1]] else [(x + WIDTH, y), (x, y)]
        points.append(_end(at, chain[-1], right=rank[chain[0]] > rank[chain[-1]]))
        routes.append((index, points))
    boxes = {name: at[name] for name in nodes}
    return Layout(boxes, routes, len(columns) * (WIDTH + GAP_X) - GAP_X, height)


def _end(at: Mapping[str, tuple[float, float]], name: str, *, right: bool) -> tuple[float, float]:
    x, y = at[name]
    return (x + WIDTH if right else x, y + HEIGHT / 2)


def _without_cycles(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """``edges``, with those that close a cycle turned around (depth-first search, without recursion)."""
    targets: dict[str, list[str]] = defaultdict(list)
    for source, target in edges:
        targets[source].append(target)
    colour: dict[str, int] = {}
    kept: list[tuple[str, str]] = []
    for root in nodes:
        if root in colour:
            continue
        colour[root] = 1
        stack = [(root, iter(targets[root]))]
        while stack:
            name, rest = stack[-1]
            for target in rest:
                if colour.get(target) == 1:
                    kept.append((target, name))
                    continue
                kept.append((name, target))
                if target not in colour:
                    colour[target] = 1
                    stack.append((target, iter(targets[target])))
                    break
            else:
                colour[name] = 2
                stack.pop()
    return kept


def _ranks(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Column of each node: the longest way to it. A source then moves right, next to its first target."""
    sources: dict[str, set[str]] = defaultdict(set)
    targets: dict[str, set[str]] = defaultdict(set)
    for source, target in edges:
        sources[target].add(source)
        targets[source].add(target)
    rank = dict.fromkeys(nodes, 0)
    waiting = {name: len(sources[name]) for name in nodes}
    ready = [name for name in nodes if waiting[name] == 0]
    done = []
    while ready:
        name = ready.pop(0)
        done.append(name)
        for target in sorted(targets[name]):
            rank[target] = max(rank[target], rank[name] + 1)
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)
    for name in reversed(done):
        if not sources[name] and targets[name]:
            rank[name] = min(rank[target] for target in targets[name]) - 1
    return rank


def _columns(
    nodes: Sequence[str], edges: Sequence[tuple[int, str, str]], rank: Mapping[str, int]
) -> tuple[list[list[str]], list[tuple[int, list[str]]]]:
    """The columns, and each edge as a chain of names with a bend (``\\x00…``) for every column in between."""
    columns: list[list[str]] = [[] for _ in range(max(rank.values(), default=-1) + 1)]
    for name in nodes:
        columns[rank[name]].append(name)
    chains = []
    for index, source, target in edges:
        step = 1 if rank[target] >= rank[source] else -1
        chain = [source]
        for column in range(rank[source] + step, rank[target], step):
            bend = f"\x00{index}.{column}"
            columns[column].append(bend)
            chain.append(bend)
        chains.append((index, [*chain, target]))
    return columns, chains


def _order(columns: list[list[str]], links: Sequence[tuple[str, str]]) -> None:
    neighbours: dict[str, list[str]] = defaultdict(list)
    for one, other in links:
        neighbours[one].append(other)
        neighbours[other].append(one)
    column_of = {name: i for i, column in enumerate(columns) for name in column}
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        for i in range(1, len(columns)) if forward else range(len(columns) - 2, -1, -1):
            beside = i - 1 if forward else i + 1
            position = {name: p for p, name in enumerate(columns[beside])}
            own = {name: p for p, name in enumerate(columns[i])}
            weight = {}
            for name in columns[i]:
                near = sorted(position[n] for n in neighbours[name] if column_of[n] == beside)
                weight[name] = near[len(near) // 2] if near else own[name]
            columns[i].sort(key=lambda name: (weight[name], own[name]))


def _place(columns: Sequence[Sequence[str]]) -> tuple[dict[str, tuple[float, float]], float]:
    def tall(name: str) -> float:
        return BEND if name.startswith("\x00") else HEIGHT

    heights = [sum(tall(n) for n in column) + GAP_Y * max(0, len(column) - 1) for column in columns]
    full = max(heights, default=0.0)
    at: dict[str, tuple[float, float]] = {}
    for i, column in enumerate(columns):
        y = (full - heights[i]) / 2
        for name in column:
            at[name] = (i * (WIDTH + GAP_X), y)
            y += tall(name) + GAP_Y
    return at, full
