import assert from "node:assert/strict";
import { test } from "node:test";

import type { LineageGraph, LineageNode } from "./api.ts";
import { fold } from "./fold.ts";
import { essential } from "./layout.ts";

const step = (id: string, name: string, state = "success"): LineageNode => ({
  id: `step_run:${id}`,
  kind: "step_run",
  label: name,
  facts: { state, step: name, map_index: Number(id.replace(/\D/g, "") || -1) },
});
const data = (id: string, name: string): LineageNode => ({ id: `artifact:${id}`, kind: "artifact", label: id, facts: { artifact: name } });

/** split -> chunk 1…n -> score 1…n -> join, of which the instances in `failed` failed. */
const mapped = (count: number, failed: number[] = []): LineageGraph => {
  const each = Array.from({ length: count }, (_, index) => index + 1);
  return {
    nodes: [
      step("split", "split"),
      ...each.map((i) => data(`chunk@${i}`, "chunk")),
      ...each.map((i) => step(`s${i}`, "score", failed.includes(i) ? "failed" : "success")),
      step("join", "join"),
    ],
    edges: each.flatMap((i) => [
      { source: "step_run:split", target: `artifact:chunk@${i}`, label: "out" },
      { source: `artifact:chunk@${i}`, target: `step_run:s${i}`, label: "rows" },
      { source: `step_run:s${i}`, target: "step_run:join", label: "scores" },
    ]),
    truncated: false,
  };
};

const labels = ({ nodes }: LineageGraph) => nodes.map((node) => node.label).sort();

test("instances of a mapped step are one node, and so is what they read", () => {
  const { graph, members } = fold(mapped(150), new Set());
  assert.deepEqual(labels(graph), ["150 × chunk", "150 × score", "join", "split"]);
  assert.deepEqual([...members.values()].map((group) => group.length), [150, 150]);
  assert.equal(essential(graph).length, 3);
  assert.deepEqual(essential(graph).map((edge) => edge.label).sort(), ["out", "rows", "scores"]);
});

test("what failed stands apart, with what it read", () => {
  const { graph } = fold(mapped(20, [3, 7]), new Set());
  assert.deepEqual(labels(graph), ["18 × chunk", "18 × score", "chunk@3", "chunk@7", "join", "score", "score", "split"]);
});

test("a few are shown one by one, and more if one asks", () => {
  assert.equal(fold(mapped(5), new Set()).members.size, 0);
  const { members } = fold(mapped(9), new Set());
  const opened = fold(mapped(9), new Set([...members.keys()]));
  assert.equal(opened.graph.nodes.length, 20);
});

test("a node for many keeps what they share", () => {
  const node = fold(mapped(9), new Set()).graph.nodes.find(({ label }) => label === "9 × score");
  assert.deepEqual(node?.facts, { state: "success", step: "score" });
});

test("nodes of one name that lead elsewhere are not alike", () => {
  const graph = mapped(12);
  graph.nodes.push(step("other", "other"));
  graph.edges.push({ source: "step_run:s4", target: "step_run:other", label: "" });
  assert.ok(labels(fold(graph, new Set()).graph).includes("11 × score"));
});
