// A lineage graph to look around in: drag to pan, Ctrl and the wheel to zoom, click or Tab to a node and see its facts.
import { Box, Button, Flex, HStack, Text } from "@chakra-ui/react";
import { type KeyboardEvent, type PointerEvent, useEffect, useMemo, useRef, useState } from "react";

import type { LineageGraph, LineageNode } from "./api.ts";
import { Facts } from "./facts.tsx";
import { shortRun, shortType } from "./format.ts";
import { type Direction, draw, type Drawing, HEIGHT, lineOf, type Placed, WIDTH } from "./layout.ts";
import { Empty, stateColor } from "./shared.tsx";

type Kind = LineageNode["kind"];
type View = { x: number; y: number; zoom: number };

const KINDS: Record<Kind, { color: string; name: string }> = {
  run: { color: "purple.solid", name: "run" },
  step_run: { color: "gray.solid", name: "step" },
  artifact: { color: "blue.solid", name: "artifact" },
  model: { color: "green.solid", name: "model" },
  deployment: { color: "orange.solid", name: "deployment" },
};
const PADDING = 16;
const TALLEST = 900; // the window onto a drawing, in pixels
const READABLE = 0.8; // a drawing that would have to be smaller than this does not begin fitted: one pans
const ALL_AT_ONCE = 300; // nodes; of larger graphs only what is in sight is in the page

/** What stands in a node: the line above is small. */
const words = (node: LineageNode): [above: string, label: string] => {
  const { facts } = node;
  const text = (name: string) => (typeof facts[name] === "string" ? (facts[name] as string) : "");
  switch (node.kind) {
    case "artifact":
      return [`artifact v${facts["version"] ?? "?"}${text("type") ? ` · ${shortType(text("type"))}` : ""}`, text("artifact") || node.label];
    case "run":
      return [`run${text("dag_id") ? ` of ${text("dag_id")}` : ""}`, shortRun(node.label)];
    case "step_run":
      return [`step${text("state") ? ` · ${text("state")}` : ""}`, node.label];
    case "model": {
      const aliases = Array.isArray(facts["aliases"]) ? (facts["aliases"] as string[]) : [];
      return [["model", ...aliases].join(" · "), node.label];
    }
    default:
      return [`deployment${text("phase") ? ` · ${text("phase")}` : ""}`, node.label];
  }
};

const scale = (drawing: Drawing, width: number) =>
  Math.min(1, (width - 2 * PADDING) / drawing.width, (TALLEST - 2 * PADDING) / drawing.height);

const centred = (drawing: Drawing, width: number, zoom: number): View => ({
  x: Math.max(PADDING, (width - drawing.width * zoom) / 2),
  y: PADDING,
  zoom,
});

/** All of it, however small. */
const fit = (drawing: Drawing, width: number) => centred(drawing, width, scale(drawing, width));

/** As much of it as can be read, from its beginning. */
const first = (drawing: Drawing, width: number) => centred(drawing, width, Math.max(READABLE, scale(drawing, width)));

/** Width of an element, as it changes. */
const useWidth = () => {
  const [element, setElement] = useState<HTMLDivElement | null>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    if (!element) {
      return undefined;
    }
    const observer = new ResizeObserver(([entry]) => setWidth(entry?.contentRect.width ?? 0));
    observer.observe(element);
    setWidth(element.getBoundingClientRect().width);
    return () => observer.disconnect();
  }, [element]);
  return { element, setElement, width };
};

export const Graph = ({ graph }: { graph: LineageGraph }) => {
  const [selected, select] = useState<string | null>(null);
  const node = graph.nodes.find((one) => one.id === selected);
  if (graph.nodes.length === 0) {
    return <Empty>Nothing is recorded here yet.</Empty>;
  }
  return (
    <Flex gap={4} direction={{ base: "column", lg: "row" }} align="stretch" data-testid="windsock-lineage">
      <Canvas graph={graph} selected={node ? selected : null} select={select} />
      {node ? <Facts node={node} graph={graph} close={() => select(null)} /> : null}
    </Flex>
  );
};

const Canvas = ({
  graph,
  selected,
  select,
}: {
  graph: LineageGraph;
  selected: string | null;
  select: (id: string | null) => void;
}) => {
  const { element, setElement, width } = useWidth();
  const [wanted, setWanted] = useState<Direction | null>(null);
  const both = useMemo(() => ({ right: draw(graph, "right"), down: draw(graph, "down") }), [graph]);
  const better = scale(both.right, width || 1000) >= scale(both.down, width || 1000) * 0.9 ? "right" : "down";
  const drawing = both[wanted ?? better];
  const [moved, setMoved] = useState<View | null>(null);
  const view = moved ?? first(drawing, width || 1000);
  const zoomBy = (factor: number, x = width / 2, y = TALLEST / 4) => setMoved(zoomed(view, factor, x, y));
  useWheelZoom(element, (factor, x, y) => setMoved((before) => zoomed(before ?? view, factor, x, y)));
  const turn = () => {
    setMoved(null);
    setWanted(drawing.direction === "right" ? "down" : "right");
  };
  const height = Math.max(140, Math.min(TALLEST, drawing.height * first(drawing, width || 1000).zoom + 2 * PADDING));
  return (
    <Box flex="1" minWidth={0}>
      <HStack justify="space-between" wrap="wrap" mb={2}>
        <Legend graph={graph} />
        <HStack gap={1}>
          <Control label="Zoom in" sign="+" act={() => zoomBy(1.25)} />
          <Control label="Zoom out" sign="−" act={() => zoomBy(0.8)} />
          <Control label="Fit to the window" sign="Fit" act={() => setMoved(fit(drawing, width))} />
          <Control label="Turn the drawing" sign={drawing.direction === "right" ? "↓" : "→"} act={turn} />
        </HStack>
      </HStack>
      {graph.truncated ? (
        <Text color="fg.muted" mb={2}>
          There is more than is shown: what lies farthest was left out.
        </Text>
      ) : null}
      <Box
        ref={setElement}
        position="relative"
        overflow="hidden"
        height={`${height}px`}
        borderWidth="1px"
        borderRadius="md"
        bg="bg"
        role="group"
        aria-label={`Lineage of ${graph.nodes.length} nodes`}
        onKeyDown={(event: KeyboardEvent) => event.key === "Escape" && select(null)}
        {...usePan(view, setMoved, () => select(null))}
      >
        {width > 0 ? <Content drawing={drawing} view={view} width={width} height={height} selected={selected} select={select} /> : null}
      </Box>
    </Box>
  );
};

const zoomed = (view: View, factor: number, x: number, y: number): View => {
  const zoom = Math.min(3, Math.max(0.05, view.zoom * factor));
  const by = zoom / view.zoom;
  return { zoom, x: x - (x - view.x) * by, y: y - (y - view.y) * by };
};

/** Ctrl (or a pinch) and the wheel; the wheel alone scrolls the page, as everywhere. */
const useWheelZoom = (element: HTMLDivElement | null, zoom: (factor: number, x: number, y: number) => void) => {
  const latest = useRef(zoom);
  latest.current = zoom;
  useEffect(() => {
    if (!element) {
      return undefined;
    }
    const turn = (event: WheelEvent) => {
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault(); // which a listener of React's could not
        const box = element.getBoundingClientRect();
        latest.current(Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
      }
    };
    element.addEventListener("wheel", turn, { passive: false });
    return () => element.removeEventListener("wheel", turn);
  }, [element]);
};

/** Dragging moves the drawing; a click beside the nodes unselects. */
const usePan = (view: View, move: (view: View) => void, click: () => void) => {
  const drag = useRef<{ x: number; y: number; from: View; moved: boolean } | null>(null);
  return {
    cursor: "grab",
    touchAction: "none",
    userSelect: "none" as const,
    onPointerDown: (event: PointerEvent) => {
      if (event.button === 0 && !(event.target as Element).closest("button")) {
        drag.current = { x: event.clientX, y: event.clientY, from: view, moved: false };
        event.currentTarget.setPointerCapture(event.pointerId);
      }
    },
    onPointerMove: (event: PointerEvent) => {
      const start = drag.current;
      if (start) {
        const [dx, dy] = [event.clientX - start.x, event.clientY - start.y];
        start.moved ||= Math.hypot(dx, dy) > 3;
        if (start.moved) {
          move({ ...start.from, x: start.from.x + dx, y: start.from.y + dy });
        }
      }
    },
    onPointerUp: () => {
      if (drag.current && !drag.current.moved) {
        click();
      }
      drag.current = null;
    },
  };
};

type ContentProps = {
  drawing: Drawing;
  view: View;
  width: number;
  height: number;
  selected: string | null;
  select: (id: string | null) => void;
};

const Content = ({ drawing, view, width, height, selected, select }: ContentProps) => {
  const edges = useMemo(() => drawing.lines.map(({ edge }) => edge), [drawing]);
  const lit = useMemo(() => (selected === null ? null : lineOf(selected, edges)), [edges, selected]);
  const visible = ({ x, y }: Placed) =>
    drawing.nodes.length <= ALL_AT_ONCE ||
    ((x + WIDTH) * view.zoom + view.x > -200 &&
      x * view.zoom + view.x < width + 200 &&
      (y + HEIGHT) * view.zoom + view.y > -200 &&
      y * view.zoom + view.y < height + 200);
  const step = (event: KeyboardEvent, id: string) => {
    const next = neighbour(drawing, id, event.key);
    if (next) {
      event.preventDefault();
      document.getElementById(domId(next))?.focus();
    }
  };
  return (
    <Box
      position="absolute"
      left={0}
      top={0}
      style={{ transform: `translate(${view.x}px, ${view.y}px) scale(${view.zoom})`, transformOrigin: "0 0" }}
    >
      <svg
        width={drawing.width + 2}
        height={drawing.height + 2}
        style={{ position: "absolute", overflow: "visible", pointerEvents: "none" }}
        aria-hidden="true"
      >
        <defs>
          <marker id="windsock-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
            <path d="M0,0.5 L8,4 L0,7.5 z" fill="currentColor" />
          </marker>
        </defs>
        {drawing.lines.map(({ edge, d }) => {
          const on = lit !== null && lit.has(edge.source) && lit.has(edge.target);
          return (
            <path
              key={`${edge.source} ${edge.target}`}
              d={d}
              fill="none"
              stroke="currentColor"
              markerEnd="url(#windsock-arrow)"
              style={{ strokeWidth: on ? 2 : 1.2, opacity: lit === null ? 0.45 : on ? 0.9 : 0.12 }}
            >
              <title>{edge.label}</title>
            </path>
          );
        })}
      </svg>
      {drawing.nodes.filter(visible).map((placed) => (
        <Node
          key={placed.node.id}
          placed={placed}
          selected={placed.node.id === selected}
          dim={lit !== null && !lit.has(placed.node.id)}
          select={() => select(placed.node.id === selected ? null : placed.node.id)}
          onKeyDown={(event) => step(event, placed.node.id)}
        />
      ))}
    </Box>
  );
};

const domId = (id: string) => `windsock-node-${id}`;

/** Where an arrow key leads: along the flow to what comes before or after, across it to the next in the layer. */
const neighbour = (drawing: Drawing, id: string, key: string): string | undefined => {
  const along = drawing.direction === "right" ? ["ArrowLeft", "ArrowRight"] : ["ArrowUp", "ArrowDown"];
  const across = drawing.direction === "right" ? ["ArrowUp", "ArrowDown"] : ["ArrowLeft", "ArrowRight"];
  const edges = drawing.lines.map(({ edge }) => edge);
  if (key === along[0]) {
    return edges.find((edge) => edge.target === id)?.source;
  }
  if (key === along[1]) {
    return edges.find((edge) => edge.source === id)?.target;
  }
  const layer = drawing.nodes.find(({ node }) => node.id === id)?.layer;
  const row = drawing.nodes.filter((one) => one.layer === layer);
  const at = row.findIndex(({ node }) => node.id === id) + (key === across[0] ? -1 : key === across[1] ? 1 : Number.NaN);
  return row[at]?.node.id;
};

const Node = ({
  placed: { node, x, y },
  selected,
  dim,
  select,
  onKeyDown,
}: {
  placed: Placed;
  selected: boolean;
  dim: boolean;
  select: () => void;
  onKeyDown: (event: KeyboardEvent) => void;
}) => {
  const [above, label] = words(node);
  const { color } = KINDS[node.kind];
  const state = node.facts["state"] ?? node.facts["phase"];
  return (
    <Box
      as="button"
      id={domId(node.id)}
      aria-pressed={selected}
      aria-label={`${above}: ${label}`}
      title={node.label}
      onClick={select}
      onKeyDown={onKeyDown}
      position="absolute"
      style={{ left: x, top: y, width: WIDTH, height: HEIGHT, opacity: dim ? 0.3 : 1 }}
      bg="bg.muted"
      borderWidth={selected ? "2px" : "1px"}
      borderColor={color}
      borderRadius="md"
      boxShadow={selected ? "md" : undefined}
      overflow="hidden"
      textAlign="left"
      cursor="pointer"
      pl={3}
      pr={2}
      _focusVisible={{ outline: "2px solid", outlineColor: "fg.info", outlineOffset: "2px" }}
    >
      <Box position="absolute" left={0} top={0} bottom={0} width="5px" bg={color} />
      <HStack gap={1}>
        {node.kind === "artifact" || typeof state !== "string" ? null : (
          <Box flex="none" width="7px" height="7px" borderRadius="full" bg={`${stateColor(state)}.solid`} />
        )}
        <Text fontSize="11px" lineHeight="1.4" color="fg.muted" truncate>
          {above}
        </Text>
      </HStack>
      <Text fontSize="13px" lineHeight="1.4" truncate>
        {label}
      </Text>
    </Box>
  );
};

const Legend = ({ graph }: { graph: LineageGraph }) => {
  const count = (kind: Kind) => graph.nodes.filter((node) => node.kind === kind).length;
  return (
    <HStack gap={4} wrap="wrap" fontSize="sm" color="fg.muted" aria-label="Legend">
      {(Object.keys(KINDS) as Kind[])
        .filter((kind) => count(kind) > 0)
        .map((kind) => (
          <HStack key={kind} gap={1.5}>
            <Box width="10px" height="10px" borderRadius="sm" bg={KINDS[kind].color} />
            {count(kind)} {KINDS[kind].name}
            {count(kind) === 1 ? "" : "s"}
          </HStack>
        ))}
    </HStack>
  );
};

const Control = ({ label, sign, act }: { label: string; sign: string; act: () => void }) => (
  <Button size="xs" variant="outline" aria-label={label} title={label} onClick={act}>
    {sign}
  </Button>
);
