// Nodes that are alike become one: a mapped step of 150 instances is "150 × score", not 150 boxes in a row.
//
// Alike are nodes of the same kind, name and state whose neighbours are alike too (colour refinement: Weisfeiler & Leman
// 1968). A failed instance therefore stands apart from those that succeeded.
import type { LineageGraph, LineageNode } from "./api.ts";

const FEWEST = 5; // as many as this are shown one by one
const ROUNDS = 20;

export type Folded = { graph: LineageGraph; members: Map<string, LineageNode[]> };

const nameOf = ({ kind, label, facts }: LineageNode): string =>
  JSON.stringify([kind, kind === "artifact" || kind === "model" ? (facts[kind] ?? label) : label, facts["state"] ?? facts["phase"] ?? null]);

/** A number for each node; alike nodes have the same. */
const colours = (graph: LineageGraph): Map<string, number> => {
  const sources = new Map<string, string[]>(graph.nodes.map(({ id }) => [id, []]));
  const targets = new Map<string, string[]>(graph.nodes.map(({ id }) => [id, []]));
  for (const { source, target } of graph.edges) {
    if (sources.has(source) && sources.has(target)) {
      sources.get(target)?.push(source);
      targets.get(source)?.push(target);
    }
  }
  const numbered = (texts: Map<string, string>): [Map<string, number>, number] => {
    const numbers = new Map([...new Set(texts.values())].sort().map((text, index) => [text, index]));
    return [new Map([...texts].map(([id, text]) => [id, numbers.get(text) ?? 0])), numbers.size];
  };
  let [colour, count] = numbered(new Map(graph.nodes.map((node) => [node.id, nameOf(node)])));
  for (let round = 0; round < ROUNDS; round += 1) {
    const known = colour;
    const around = (ids: string[] | undefined) => [...new Set((ids ?? []).map((id) => known.get(id) ?? 0))].sort((a, b) => a - b);
    const next = new Map(
      graph.nodes.map(({ id }) => [id, JSON.stringify([known.get(id), around(sources.get(id)), around(targets.get(id))])]),
    );
    const [finer, more] = numbered(next);
    if (more === count) {
      break;
    }
    [colour, count] = [finer, more];
  }
  return colour;
};

/** The graph with alike nodes as one; `opened` are ids of such nodes that are to be shown one by one. */
export const fold = (graph: LineageGraph, opened: ReadonlySet<string>): Folded => {
  const colour = colours(graph);
  const groups = new Map<number, LineageNode[]>();
  for (const node of [...graph.nodes].sort((a, b) => (a.id < b.id ? -1 : 1))) {
    const of = colour.get(node.id) ?? 0;
    groups.set(of, [...(groups.get(of) ?? []), node]);
  }
  const members = new Map<string, LineageNode[]>();
  const stands = new Map<string, string>(); // which node stands for a node
  for (const group of groups.values()) {
    const id = `${group[0]?.id} and alike`;
    if (group.length > FEWEST && !opened.has(id)) {
      members.set(id, group);
      group.forEach((node) => stands.set(node.id, id));
    }
  }
  const nodes = graph.nodes.filter(({ id }) => !stands.has(id));
  for (const [id, group] of members) {
    nodes.push(standIn(id, group));
  }
  const edges = graph.edges.map((edge) => ({
    ...edge,
    source: stands.get(edge.source) ?? edge.source,
    target: stands.get(edge.target) ?? edge.target,
  }));
  return { graph: { ...graph, nodes, edges }, members };
};

/** A node with those facts that all of them share. */
const standIn = (id: string, group: LineageNode[]): LineageNode => {
  const [first, ...rest] = group as [LineageNode, ...LineageNode[]];
  const shared = Object.entries(first.facts).filter(([name, value]) =>
    rest.every((node) => JSON.stringify(node.facts[name]) === JSON.stringify(value)),
  );
  const label = first.kind === "artifact" || first.kind === "model" ? String(first.facts[first.kind] ?? first.label) : first.label;
  return { id, kind: first.kind, label: `${group.length} × ${label}`, facts: Object.fromEntries(shared) };
};
