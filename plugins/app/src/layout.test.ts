import assert from "node:assert/strict";
import { test } from "node:test";

import type { LineageGraph } from "./api.ts";
import { draw, HEIGHT, layers } from "./layout.ts";

const graph = (edges: [string, string][]): LineageGraph => ({
  nodes: [...new Set(edges.flat())].map((id) => ({ id, kind: "artifact", label: id, facts: {} })),
  edges: edges.map(([source, target]) => ({ source, target, label: "" })),
  truncated: false,
});

test("a node stands right of everything it comes from", () => {
  const layer = layers(graph([["a", "b"], ["b", "c"], ["a", "c"], ["c", "d"]]));
  assert.deepEqual([..."abcd"].map((id) => layer.get(id)), [0, 1, 2, 3]);
});

test("a cycle does not hang", () => {
  assert.equal(layers(graph([["a", "b"], ["b", "a"]])).size, 2);
});

test("no two nodes overlap, and the drawing holds them all", () => {
  const drawing = draw(graph([["a", "x"], ["b", "x"], ["c", "x"], ["x", "y"], ["x", "z"]]));
  for (const one of drawing.nodes) {
    for (const other of drawing.nodes) {
      assert.ok(one === other || one.x !== other.x || Math.abs(one.y - other.y) >= HEIGHT);
    }
    assert.ok(one.y >= 0 && one.y + HEIGHT <= drawing.height);
  }
  assert.equal(drawing.paths.length, 5);
});

test("the same graph is drawn the same way, whatever the order of its nodes", () => {
  const one = graph([["a", "x"], ["b", "x"], ["x", "y"]]);
  const other = { ...one, nodes: [...one.nodes].reverse() };
  const positions = (of: LineageGraph) =>
    draw(of).nodes.map(({ node, x, y }) => `${node.id} ${x} ${y}`).sort();
  assert.deepEqual(positions(one), positions(other));
});

test("an edge to a node that was cut off is left out", () => {
  const cut = { ...graph([["a", "b"]]), nodes: [{ id: "a", kind: "run" as const, label: "a", facts: {} }] };
  assert.equal(draw(cut).paths.length, 0);
});
