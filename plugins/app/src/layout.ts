// A layered drawing of a lineage graph: data flows from left to right, and the same graph is always drawn the same way.
import type { LineageEdge, LineageGraph, LineageNode } from "./api.ts";

export const WIDTH = 220;
export const HEIGHT = 52;
const GAP_X = 70;
const GAP_Y = 22;

export type Placed = { node: LineageNode; x: number; y: number };
export type Path = { edge: LineageEdge; d: string };
export type Drawing = { nodes: Placed[]; paths: Path[]; width: number; height: number };

/** Layer of each node: the longest way from a source. A cycle (there should be none) is cut where it closes. */
export const layers = (graph: LineageGraph): Map<string, number> => {
  const before = new Map<string, string[]>(graph.nodes.map((node) => [node.id, []]));
  for (const { source, target } of graph.edges) {
    if (before.has(source)) {
      before.get(target)?.push(source);
    }
  }
  const layer = new Map<string, number>();
  const visiting = new Set<string>();
  const visit = (id: string): number => {
    const known = layer.get(id);
    if (known !== undefined) {
      return known;
    }
    if (visiting.has(id)) {
      return 0;
    }
    visiting.add(id);
    const found = Math.max(-1, ...(before.get(id) ?? []).map(visit)) + 1;
    visiting.delete(id);
    layer.set(id, found);
    return found;
  };
  for (const node of graph.nodes) {
    visit(node.id);
  }
  return layer;
};

export const draw = (graph: LineageGraph): Drawing => {
  const layer = layers(graph);
  const columns: LineageNode[][] = [];
  for (const node of graph.nodes) {
    (columns[layer.get(node.id) ?? 0] ??= []).push(node);
  }
  const neighbours = new Map<string, string[]>();
  for (const { source, target } of graph.edges) {
    neighbours.set(target, [...(neighbours.get(target) ?? []), source]);
  }
  const tallest = Math.max(1, ...columns.map((column) => column.length));
  const place = new Map<string, Placed>();
  columns.forEach((column, index) => {
    // Each node near the middle of what it comes from, which keeps most edges from crossing.
    const wanted = (node: LineageNode) => {
      const rows = (neighbours.get(node.id) ?? []).flatMap((id) => place.get(id)?.y ?? []);
      return rows.length === 0 ? Number.MAX_SAFE_INTEGER : rows.reduce((sum, y) => sum + y, 0) / rows.length;
    };
    const sorted = [...column].sort((a, b) => wanted(a) - wanted(b) || a.id.localeCompare(b.id));
    const offset = ((tallest - sorted.length) * (HEIGHT + GAP_Y)) / 2;
    sorted.forEach((node, row) => {
      place.set(node.id, { node, x: index * (WIDTH + GAP_X), y: offset + row * (HEIGHT + GAP_Y) });
    });
  });
  const paths = graph.edges.flatMap((edge) => {
    const from = place.get(edge.source);
    const to = place.get(edge.target);
    if (!from || !to) {
      return [];
    }
    const [x1, y1, x2, y2] = [from.x + WIDTH, from.y + HEIGHT / 2, to.x, to.y + HEIGHT / 2];
    const bend = Math.max(30, (x2 - x1) / 2);
    return [{ edge, d: `M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}` }];
  });
  return {
    nodes: [...place.values()],
    paths,
    width: Math.max(1, columns.length) * (WIDTH + GAP_X) - GAP_X,
    height: tallest * (HEIGHT + GAP_Y) - GAP_Y,
  };
};
