import assert from "node:assert/strict";
import { test } from "node:test";

import type { LineageGraph } from "./api.ts";
import { draw, essential, HEIGHT, layers, lineOf, spread, WIDTH } from "./layout.ts";

const graph = (edges: [string, string][], extra: string[] = []): LineageGraph => ({
  nodes: [...new Set([...edges.flat(), ...extra])].map((id) => ({ id, kind: "artifact", label: id, facts: {} })),
  edges: edges.map(([source, target]) => ({ source, target, label: "" })),
  truncated: false,
});

const layersOf = (of: LineageGraph) => layers(of.nodes.map((node) => node.id), essential(of));

/** A random number generator that always gives the same numbers. */
const random = (seed: number) => () => {
  seed = (seed * 1664525 + 1013904223) % 2 ** 32;
  return seed / 2 ** 32;
};

const randomGraph = (nodes: number, edges: number): LineageGraph => {
  const next = random(nodes);
  const pick = () => Math.floor(next() * nodes);
  const pairs = Array.from({ length: edges }, () => [pick(), pick()].sort((a, b) => a - b) as [number, number]);
  return graph(pairs.map(([a, b]) => [`n${String(a).padStart(4, "0")}`, `n${String(b).padStart(4, "0")}`]));
};

const overlapping = (of: LineageGraph, direction: "right" | "down"): string[] => {
  const { nodes } = draw(of, direction);
  return nodes.flatMap((one, index) =>
    nodes
      .slice(index + 1)
      .filter((other) => Math.abs(one.x - other.x) < WIDTH && Math.abs(one.y - other.y) < HEIGHT)
      .map((other) => `${one.node.id} ${other.node.id}`),
  );
};

test("a node stands after everything it comes from", () => {
  const layer = layersOf(graph([["a", "b"], ["b", "c"], ["a", "c"], ["c", "d"]]));
  assert.deepEqual([..."abcd"].map((id) => layer.get(id)), [0, 1, 2, 3]);
});

test("a source stands just before what it leads to", () => {
  assert.equal(layersOf(graph([["a", "b"], ["b", "c"], ["late", "c"]])).get("late"), 1);
});

test("a cycle does not hang, and every node of it has a layer", () => {
  assert.equal(layersOf(graph([["a", "b"], ["b", "c"], ["c", "a"], ["c", "d"]])).size, 4);
});

test("a run leads only to the steps that it begins with", () => {
  const two = graph([
    ["run:1", "step_run:load"], ["step_run:load", "rows"], ["rows", "step_run:fit"], ["run:1", "step_run:fit"],
    ["rows", "step_run:later"], ["run:2", "step_run:later"],
  ]);
  const runs = essential(two).filter((edge) => edge.source.startsWith("run:"));
  assert.deepEqual(runs.map((edge) => edge.target), ["step_run:load", "step_run:later"]);
});

test("two edges of the same pair are one line with both labels", () => {
  const doubled = graph([["a", "b"]]);
  doubled.edges = [{ source: "a", target: "b", label: "rows" }, { source: "a", target: "b", label: "truth" }];
  assert.deepEqual(essential(doubled).map((edge) => edge.label), ["rows, truth"]);
});

test("an edge to a node that was cut off is left out", () => {
  const cut = { ...graph([["a", "b"]]), nodes: [{ id: "a", kind: "run" as const, label: "a", facts: {} }] };
  assert.equal(draw(cut).lines.length, 0);
});

test("no two nodes overlap, and the drawing holds them all", () => {
  for (const direction of ["right", "down"] as const) {
    const random = randomGraph(60, 110);
    const drawing = draw(random, direction);
    assert.deepEqual(overlapping(random, direction), []);
    for (const { x, y } of drawing.nodes) {
      assert.ok(x >= 0 && x + WIDTH <= drawing.width + 0.2, `${x} in ${drawing.width}`);
      assert.ok(y >= 0 && y + HEIGHT <= drawing.height + 0.2, `${y} in ${drawing.height}`);
    }
  }
});

test("the same graph is drawn the same way, whatever the order of its nodes and edges", () => {
  const one = randomGraph(40, 60);
  const other = { ...one, nodes: [...one.nodes].reverse(), edges: [...one.edges].reverse() };
  const positions = (of: LineageGraph) => draw(of).nodes.map(({ node, x, y }) => `${node.id} ${x} ${y}`).sort();
  assert.deepEqual(positions(one), positions(other));
  assert.deepEqual(draw(one).lines.map(({ d }) => d), draw(other).lines.map(({ d }) => d));
});

test("lines that need not cross do not", () => {
  // Drawn in the order of their names, each of these lines would cross the other two.
  const { nodes } = draw(graph([["a1", "b3"], ["a2", "b2"], ["a3", "b1"]]));
  const row = (id: string) => nodes.find(({ node }) => node.id === id)?.y;
  assert.deepEqual(["a1", "a2", "a3"].map(row), ["b3", "b2", "b1"].map(row));
});

test("a long line goes around the nodes between its ends", () => {
  const drawing = draw(graph([["a", "b"], ["b", "c"], ["c", "d"], ["a", "d"]]));
  const long = drawing.lines.find(({ edge }) => edge.source === "a" && edge.target === "d")?.d ?? "";
  const between = drawing.nodes.filter(({ node }) => node.id === "b" || node.id === "c");
  const heights = [...long.matchAll(/[\d.]+,([\d.]+)/g)].map((match) => Number(match[1]));
  const bends = [...long.matchAll(/H/g)].length;
  assert.ok(bends >= 2, "it runs straight past both");
  const middle = heights[Math.floor(heights.length / 2)] ?? 0;
  assert.ok(between.every(({ y }) => middle < y || middle > y + HEIGHT), `${middle} is inside a node`);
});

test("nothing recorded is an empty drawing", () => {
  assert.deepEqual(draw({ nodes: [], edges: [], truncated: false }).nodes, []);
});

test("places are the least squares fit that keeps the distances", () => {
  assert.deepEqual(spread([0, 0, 0], [1, 1, 1]), [-1, 0, 1]);
  assert.deepEqual(spread([0, 5, 5.5], [1, 1, 1]), [0, 4.75, 5.75]);
  assert.deepEqual(spread([3, 10], [1, 2]), [3, 10]);
});

test("the line of a node is what it came from and what came of it", () => {
  const { edges } = graph([["a", "b"], ["b", "c"], ["x", "c"], ["b", "d"]]);
  assert.deepEqual([...lineOf("c", edges)].sort(), ["a", "b", "c", "x"]);
  assert.deepEqual([...lineOf("b", edges)].sort(), ["a", "b", "c", "d"]);
});

test("two thousand nodes are drawn within two seconds", () => {
  const large = randomGraph(2000, 3000);
  const began = performance.now();
  assert.ok(draw(large).nodes.length > 1500);
  assert.ok(performance.now() - began < 2000, `${Math.round(performance.now() - began)} ms`);
});
