"""Drawings of graphs of every shape: nothing is lost, nothing overlaps, nothing hangs."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
import xml.etree.ElementTree as ET

import pytest
from windsock.provider.cli import lineage_views as views
from windsock.provider.cli.lineage_layout import HEIGHT, WIDTH, lay_out
from windsock.provider.cli.output import plain
from windsock.provider.metadata import LineageEdge, LineageGraph, LineageNode

SVG = "{http://www.w3.org/2000/svg}"
NASTY = 'a "quoted" <b>&amp; [x] | #1 \\ ünïcode'


def graph(*edges, label="x"):
    names = list(dict.fromkeys(name for edge in edges for name in edge))
    nodes = [LineageNode(id=f"artifact:{n}", kind="artifact", label=n, facts={"type": "dict"}) for n in names]
    return LineageGraph(
        nodes=nodes, edges=[LineageEdge(source=f"artifact:{s}", target=f"artifact:{t}", label=label) for s, t in edges]
    )


CHAIN = graph(("a", "b"), ("b", "c"))
DIAMOND = graph(("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("a", "d"))
CYCLE = graph(("a", "b"), ("b", "c"), ("c", "a"))
LOOP = graph(("a", "a"), ("a", "b"))


def boxes_overlap(boxes):
    corners = sorted(boxes.values())
    return [
        (one, other)
        for i, one in enumerate(corners)
        for other in corners[i + 1 :]
        if abs(one[0] - other[0]) < WIDTH and abs(one[1] - other[1]) < HEIGHT
    ]


class TestLayout:
    def test_flows_from_left_to_right(self):
        layout = lay_out(["c", "b", "a"], [("a", "b"), ("b", "c")])
        assert layout.boxes["a"][0] < layout.boxes["b"][0] < layout.boxes["c"][0]

    def test_a_node_comes_after_its_last_source(self):
        layout = lay_out(list("abcd"), [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")])
        assert layout.boxes["d"][0] > layout.boxes["c"][0]

    def test_a_late_source_stands_next_to_its_target(self):
        layout = lay_out(list("abcz"), [("a", "b"), ("b", "c"), ("z", "c")])
        assert layout.boxes["z"][0] == layout.boxes["b"][0]

    def test_a_cycle_is_drawn_and_every_edge_with_it(self):
        layout = lay_out(list("abc"), [("a", "b"), ("b", "c"), ("c", "a")])
        assert sorted(index for index, _ in layout.routes) == [0, 1, 2]

    def test_a_long_edge_crosses_no_box(self):
        edges = [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")]
        layout = lay_out(list("abcd"), edges)
        points = dict(layout.routes)[3]
        for name in "bc":
            x, y = layout.boxes[name]
            assert not [p for p in points if x <= p[0] <= x + WIDTH and y < p[1] < y + HEIGHT]

    def test_crossings_are_undone(self):
        layout = lay_out(["a", "b", "x", "y"], [("a", "y"), ("b", "x")])
        assert (layout.boxes["a"][1] < layout.boxes["b"][1]) == (layout.boxes["y"][1] < layout.boxes["x"][1])

    @pytest.mark.parametrize("seed", range(20))
    def test_random_graphs_overlap_nowhere(self, seed):
        chance = random.Random(seed)
        names = [f"n{i}" for i in range(40)]
        edges = [(chance.choice(names), chance.choice(names)) for _ in range(60)]
        layout = lay_out(names, edges)
        assert set(layout.boxes) == set(names)
        assert boxes_overlap(layout.boxes) == []
        assert len(layout.routes) == sum(s != t for s, t in edges)
        assert layout == lay_out(names, edges)

    def test_a_thousand_nodes_in_seconds(self):
        names = [f"n{i}" for i in range(1000)]
        edges = [(names[i], names[min(999, i + step)]) for i in range(999) for step in (1, 7)]
        began = time.process_time()
        lay_out(names, edges)
        assert time.process_time() - began < 10

    def test_nothing(self):
        assert lay_out([], []).boxes == {}


class TestSvg:
    @pytest.mark.parametrize("drawn", [CHAIN, DIAMOND, CYCLE, LOOP, graph()])
    def test_has_every_node_and_edge(self, drawn):
        root = ET.fromstring(views.svg(drawn))
        labels = [e.text for e in root.iter(f"{SVG}text") if e.get("class") == "label"]
        assert sorted(labels) == sorted(n.label for n in drawn.nodes)
        edges = [e for e in root.iter(f"{SVG}path") if e.get("class") == "edge"]
        assert len(edges) == sum(e.source != e.target for e in drawn.edges)

    def test_is_self_contained_and_knows_the_dark(self):
        text = views.svg(CHAIN)
        assert "prefers-color-scheme:dark" in text
        assert "href" not in text
        assert "url(http" not in text

    def test_escapes(self):
        root = ET.fromstring(views.svg(graph((NASTY, "b"), label=NASTY)))
        titles = [e.text for e in root.iter(f"{SVG}title")]
        assert NASTY in titles
        assert any(NASTY in (t or "") for t in titles if t != NASTY)


class TestMermaidAndDot:
    def test_mermaid_names_each_node_once(self):
        text = views.mermaid(DIAMOND)
        assert text.count("<small>artifact</small>") == 4
        assert text.count("-->") == 5

    def test_mermaid_escapes_what_would_end_a_label(self):
        lines = views.mermaid(graph((NASTY, "b"))).splitlines()
        assert lines[1].count('"') == 2

    def test_dot_is_read_by_graphviz_or_at_least_balanced(self):
        text = views.dot(graph((NASTY, "b"), ("b", "c"), label=NASTY))
        if program := shutil.which("dot"):
            subprocess.run([program, "-Tsvg"], input=text.encode(), check=True, capture_output=True)
        assert text.count("->") == 2
        assert text.startswith("digraph lineage {")
        assert text.endswith("}\n")


class TestTree:
    def test_shows_where_it_comes_from_and_what_became_of_it(self):
        text = plain(views.tree(CHAIN, "artifact:b"))
        assert text.index("comes from") < text.index("a  artifact") < text.index("leads to") < text.index("c  artifact")

    def test_unfolds_a_node_once(self):
        text = plain(views.tree(graph(("a", "b"), ("b", "c"), ("b", "d"), ("c", "e"), ("d", "e")), "artifact:e"))
        assert text.count("(see above)") == 1
        assert text.count("a  artifact") == 1

    def test_a_cycle_ends(self):
        assert plain(views.tree(CYCLE, "artifact:a")).count("\n") < 20

    def test_alone(self):
        only = LineageGraph(nodes=[LineageNode(id="artifact:a", kind="artifact", label="a")], edges=[])
        assert "Nothing is recorded before or after it." in plain(views.tree(only, "artifact:a"))
