// A layered drawing of a lineage graph. It depends on the graph alone, not on the order of its nodes or on chance.
//
// The four steps are Sugiyama's (Sugiyama, Tagawa & Toda 1981): layers by the longest way from a source; lines that
// skip layers get places of their own there; the order in each layer is swept until no fewer lines cross; places are the
// least-squares fit to the neighbours' (by pooling adjacent violators).
import type { LineageEdge, LineageGraph, LineageNode } from "./api.ts";

export const WIDTH = 220;
export const HEIGHT = 48;
/** Along the flow, across the flow. */
const GAP = { right: [54, 14], down: [34, 20] } as const;
const BEND = 0.25; // a bend of a line needs this much of a node's place
const SWEEPS = 12;
const MOST_BENDS = 20_000; // above, long lines run behind the nodes

export type Direction = keyof typeof GAP;
export type Placed = { node: LineageNode; layer: number; x: number; y: number };
export type Line = { edge: LineageEdge; d: string };
export type Drawing = { nodes: Placed[]; lines: Line[]; width: number; height: number; direction: Direction };

type Slot = { id: string; before: Slot[]; after: Slot[]; place: number; size: number; row: number };

/** The lines worth drawing: both ends there, one for each pair, and from a run only to those steps that it begins with. */
export const essential = (graph: LineageGraph): LineageEdge[] => {
  const ids = new Set(graph.nodes.map((node) => node.id));
  const pairs = new Map<string, LineageEdge>();
  for (const edge of graph.edges) {
    if (ids.has(edge.source) && ids.has(edge.target) && edge.source !== edge.target) {
      const key = JSON.stringify([edge.source, edge.target]);
      const known = pairs.get(key);
      const labels = new Set([...(known?.label.split(", ") ?? []), edge.label]);
      pairs.set(key, { ...edge, label: [...labels].sort().join(", ") });
    }
  }
  const sources = new Map<string, string[]>(); // of a node, runs apart
  const runOf = new Map<string, string>();
  for (const { source, target } of pairs.values()) {
    if (source.startsWith("run:")) {
      runOf.set(target, source);
    } else {
      sources.set(target, [...(sources.get(target) ?? []), source]);
    }
  }
  const led = (step: string, run: string): boolean =>
    (sources.get(step) ?? []).some((data) => (sources.get(data) ?? []).some((earlier) => runOf.get(earlier) === run));
  return [...pairs.entries()]
    .filter(([, { source, target }]) => !(source.startsWith("run:") && led(target, source)))
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([, edge]) => edge);
};

/** Layer of each node: the longest way from a source; sources stand just before what they lead to. Cycles are cut. */
export const layers = (ids: string[], edges: LineageEdge[]): Map<string, number> => {
  const after = new Map<string, string[]>(ids.map((id) => [id, []]));
  const waiting = new Map<string, number>(ids.map((id) => [id, 0]));
  for (const { source, target } of edges) {
    after.get(source)?.push(target);
    waiting.set(target, (waiting.get(target) ?? 0) + 1);
  }
  const left = new Set([...ids].sort());
  const sources = [...left].filter((id) => waiting.get(id) === 0);
  const layer = new Map<string, number>();
  const ready = [...sources];
  while (left.size > 0) {
    const id = ready.shift() ?? ([...left][0] as string); // none is ready: cut a cycle at its first name
    if (!left.delete(id)) {
      continue;
    }
    const own = layer.get(id) ?? 0;
    layer.set(id, own);
    for (const next of after.get(id) ?? []) {
      if (left.has(next)) {
        layer.set(next, Math.max(layer.get(next) ?? 0, own + 1));
        const open = (waiting.get(next) ?? 0) - 1;
        waiting.set(next, open);
        if (open === 0) {
          ready.push(next);
        }
      }
    }
  }
  for (const id of sources) {
    const next = (after.get(id) ?? []).map((target) => layer.get(target) ?? 0);
    if (next.length > 0) {
      layer.set(id, Math.max(0, Math.min(...next) - 1));
    }
  }
  return layer;
};

/** Nearest places to those wanted, in this order, each at least its distance from the one before. */
export const spread = (wanted: number[], distance: number[]): number[] => {
  let offset = 0;
  const offsets = wanted.map((_, index) => (offset += index === 0 ? 0 : (distance[index] ?? 0)));
  const blocks: { sum: number; count: number }[] = [];
  wanted.forEach((value, index) => {
    blocks.push({ sum: value - (offsets[index] ?? 0), count: 1 });
    for (let last = blocks.at(-1), before = blocks.at(-2); last && before; last = blocks.at(-1), before = blocks.at(-2)) {
      if (before.sum / before.count <= last.sum / last.count) {
        break;
      }
      blocks.splice(-2, 2, { sum: before.sum + last.sum, count: before.count + last.count });
    }
  });
  const levels = blocks.flatMap(({ sum, count }) => Array.from({ length: count }, () => sum / count));
  return levels.map((level, index) => level + (offsets[index] ?? 0));
};

/** How many lines between two neighbouring layers cross. */
const crossings = (rows: Slot[][]): number => {
  let count = 0;
  for (const row of rows) {
    const seen: number[] = []; // sorted rows of the ends met so far
    for (const slot of row) {
      const ends = slot.after.map((next) => next.row).sort((a, b) => a - b);
      for (const end of ends) {
        count += seen.length - upperBound(seen, end);
      }
      for (const end of ends) {
        seen.splice(upperBound(seen, end), 0, end);
      }
    }
  }
  return count;
};

const upperBound = (sorted: number[], value: number): number => {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] as number) <= value) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
};

const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

const number = (row: Slot[]) => row.forEach((slot, index) => (slot.row = index));

const sortRow = (row: Slot[], side: "before" | "after") => {
  const wish = new Map(row.map((slot) => [slot, slot[side].length > 0 ? mean(slot[side].map((one) => one.row)) : slot.row]));
  row.sort((a, b) => (wish.get(a) ?? 0) - (wish.get(b) ?? 0) || a.row - b.row);
  number(row);
};

const order = (rows: Slot[][]) => {
  rows.forEach(number);
  let best = rows.map((row) => [...row]);
  let fewest = crossings(rows);
  for (let sweep = 0; sweep < SWEEPS && fewest > 0; sweep += 1) {
    const down = sweep % 2 === 0;
    for (const row of down ? rows : [...rows].reverse()) {
      sortRow(row, down ? "before" : "after");
    }
    const count = crossings(rows);
    if (count < fewest) {
      fewest = count;
      best = rows.map((row) => [...row]);
    }
  }
  best.forEach((row, index) => {
    rows[index] = row;
    number(row);
  });
};

const place = (rows: Slot[][]) => {
  for (const row of rows) {
    row.forEach((slot, index) => (slot.place = index));
  }
  const settle = (row: Slot[], neighbours: (slot: Slot) => Slot[]) => {
    const wanted = row.map((slot) => {
      const near = neighbours(slot);
      return near.length > 0 ? mean(near.map((one) => one.place)) : slot.place;
    });
    const distance = row.map((slot, index) => (slot.size + (row[index - 1]?.size ?? 0)) / 2);
    spread(wanted, distance).forEach((found, index) => ((row[index] as Slot).place = found));
  };
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    rows.forEach((row) => settle(row, (slot) => slot.before));
    [...rows].reverse().forEach((row) => settle(row, (slot) => slot.after));
  }
  rows.forEach((row) => settle(row, (slot) => [...slot.before, ...slot.after]));
  const first = Math.min(...rows.flat().map((slot) => slot.place - slot.size / 2));
  rows.flat().forEach((slot) => (slot.place -= first));
};

const curve = (points: [number, number][], direction: Direction): string => {
  const [start, ...rest] = points as [[number, number], ...[number, number][]];
  let [x, y] = start;
  let d = `M${x},${y}`;
  for (const [toX, toY] of rest) {
    if (direction === "right") {
      const middle = (x + toX) / 2;
      d += y === toY ? ` H${toX}` : ` C${middle},${y} ${middle},${toY} ${toX},${toY}`;
    } else {
      const middle = (y + toY) / 2;
      d += x === toX ? ` V${toY}` : ` C${x},${middle} ${toX},${middle} ${toX},${toY}`;
    }
    [x, y] = [toX, toY];
  }
  return d;
};

const round = (value: number) => Math.round(value * 10) / 10;

export const draw = (graph: LineageGraph, direction: Direction = "right"): Drawing => {
  const edges = essential(graph);
  const ids = graph.nodes.map((node) => node.id).sort();
  const layer = layers(ids, edges);
  const rows: Slot[][] = Array.from({ length: Math.max(-1, ...layer.values()) + 1 }, () => []);
  const slots = new Map<string, Slot>();
  const add = (id: string, at: number, size: number): Slot => {
    const slot = { id, before: [], after: [], place: 0, size, row: 0 };
    rows[at]?.push(slot);
    return slot;
  };
  for (const id of ids) {
    slots.set(id, add(id, layer.get(id) ?? 0, 1));
  }
  const span = ({ source, target }: LineageEdge) => (layer.get(target) ?? 0) - (layer.get(source) ?? 0);
  const bends = edges.reduce((sum, edge) => sum + Math.max(0, span(edge) - 1), 0);
  const via = new Map<LineageEdge, Slot[]>();
  for (const edge of edges) {
    const [source, target] = [slots.get(edge.source) as Slot, slots.get(edge.target) as Slot];
    const chain = [source];
    if (bends <= MOST_BENDS) {
      for (let at = (layer.get(edge.source) ?? 0) + 1; at < (layer.get(edge.target) ?? 0); at += 1) {
        chain.push(add(`${edge.source} ${edge.target} ${at}`, at, BEND));
      }
    }
    chain.push(target);
    via.set(edge, chain);
    if (span(edge) === 1 || chain.length > 2) {
      chain.slice(1).forEach((slot, index) => {
        (chain[index] as Slot).after.push(slot);
        slot.before.push(chain[index] as Slot);
      });
    }
  }
  if (ids.length > 0) {
    order(rows);
    place(rows);
  }
  return coordinates(graph, edges, { layer, slots, via, rows, direction });
};

type Plan = {
  layer: Map<string, number>;
  slots: Map<string, Slot>;
  via: Map<LineageEdge, Slot[]>;
  rows: Slot[][];
  direction: Direction;
};

const coordinates = (graph: LineageGraph, edges: LineageEdge[], plan: Plan): Drawing => {
  const { layer, slots, via, rows, direction } = plan;
  const right = direction === "right";
  const [alongGap, acrossGap] = GAP[direction];
  const [along, across] = right ? [WIDTH, HEIGHT] : [HEIGHT, WIDTH];
  const point = (main: number, cross: number): [number, number] =>
    right ? [round(main), round(cross)] : [round(cross), round(main)];
  const start = (at: number) => at * (along + alongGap);
  const middle = (slot: Slot) => slot.place * (across + acrossGap) - acrossGap / 2;
  const nodes = graph.nodes.map((node) => {
    const at = layer.get(node.id) ?? 0;
    const [x, y] = point(start(at), middle(slots.get(node.id) as Slot) - across / 2);
    return { node, layer: at, x, y };
  });
  nodes.sort((a, b) => a.layer - b.layer || a.y - b.y || a.x - b.x);
  const lines = edges.map((edge) => {
    const chain = via.get(edge) as Slot[];
    const [source, target] = [chain[0] as Slot, chain.at(-1) as Slot];
    const from = layer.get(edge.source) ?? 0;
    const bent = chain.slice(1, -1).flatMap((slot, index) => {
      const at = start(from + index + 1);
      return [point(at, middle(slot)), point(at + along, middle(slot))];
    });
    const ends = [point(start(from) + along, middle(source)), ...bent, point(start(layer.get(edge.target) ?? 0), middle(target))];
    return { edge, d: curve(ends, direction) };
  });
  const deepest = start(rows.length) - alongGap;
  const widest = Math.max(0, ...rows.flat().map((slot) => middle(slot) + (slot.size === 1 ? across / 2 : 0)));
  const [width, height] = point(Math.max(0, deepest), widest);
  return { nodes, lines, width, height, direction };
};

/** A node with all it came from and all that came of it. */
export const lineOf = (id: string, edges: LineageEdge[]): Set<string> => {
  const found = new Set([id]);
  const walk = (from: "source" | "target", to: "source" | "target") => {
    const next = new Map<string, string[]>();
    for (const edge of edges) {
      const known = next.get(edge[from]);
      if (known) {
        known.push(edge[to]);
      } else {
        next.set(edge[from], [edge[to]]);
      }
    }
    const seen = new Set([id]);
    const open = [id];
    for (let current = open.pop(); current !== undefined; current = open.pop()) {
      for (const one of next.get(current) ?? []) {
        if (!seen.has(one)) {
          seen.add(one);
          found.add(one);
          open.push(one);
        }
      }
    }
  };
  walk("source", "target");
  walk("target", "source");
  return found;
};
