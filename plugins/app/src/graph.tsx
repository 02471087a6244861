// A lineage to look around in: drag to pan, Ctrl and the wheel to zoom, click or Tab to a node and see its facts.
import { Box, Button, Flex, HStack, Text } from "@chakra-ui/react";
import { type KeyboardEvent, type UIEvent, useEffect, useMemo, useRef, useState } from "react";

import type { LineageGraph } from "./api.ts";
import { Facts } from "./facts.tsx";
import { fold } from "./fold.ts";
import { type Direction, draw, type Drawing, HEIGHT, lineOf, type Placed, WIDTH } from "./layout.ts";
import { domId, Legend, Node } from "./node.tsx";
import { Empty } from "./shared.tsx";
import { first, fit, intoSight, PADDING, scale, TALLEST, usePan, useWheelZoom, useWidth, type View, zoomed } from "./view.ts";

const ALL_AT_ONCE = 300; // nodes; of larger graphs only what is in sight is in the page

export const Graph = ({ graph: whole }: { graph: LineageGraph }) => {
  const [selected, select] = useState<string | null>(null);
  const [opened, setOpened] = useState<ReadonlySet<string>>(new Set());
  const { graph, members } = useMemo(() => fold(whole, opened), [whole, opened]);
  const node = graph.nodes.find((one) => one.id === selected);
  const group = node ? members.get(node.id) : undefined;
  const open = (id: string) => {
    select(null);
    setOpened(new Set([...opened, id]));
  };
  if (whole.nodes.length === 0) {
    return <Empty>Nothing is recorded here yet.</Empty>;
  }
  return (
    <Flex gap={4} direction={{ base: "column", lg: "row" }} align="stretch" data-testid="windsock-lineage">
      <Canvas
        graph={graph}
        whole={whole}
        selected={node ? selected : null}
        select={select}
        {...(opened.size > 0 ? { close: () => setOpened(new Set()) } : {})}
      />
      {node ? (
        <Facts node={node} graph={graph} close={() => select(null)} {...(group ? { group, open: () => open(node.id) } : {})} />
      ) : null}
    </Flex>
  );
};

const Canvas = ({
  graph,
  whole,
  selected,
  select,
  close,
}: {
  graph: LineageGraph;
  whole: LineageGraph;
  selected: string | null;
  select: (id: string | null) => void;
  /** Folds again what was opened. */
  close?: () => void;
}) => {
  const { element, setElement, width } = useWidth();
  const [wanted, setWanted] = useState<Direction | null>(null);
  const both = useMemo(() => ({ right: draw(graph, "right"), down: draw(graph, "down") }), [graph]);
  const firstWidth = useRef(0); // so that the drawing does not turn when the facts open beside it
  firstWidth.current ||= width;
  const room = firstWidth.current || 1000;
  const better = scale(both.right, room) >= scale(both.down, room) * 0.9 ? "right" : "down";
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
  const reveal = (id: string) => {
    const placed = drawing.nodes.find(({ node }) => node.id === id);
    if (placed && width > 0) {
      const x = intoSight(placed.x * view.zoom + view.x, WIDTH * view.zoom, width);
      const y = intoSight(placed.y * view.zoom + view.y, HEIGHT * view.zoom, height);
      if (x !== 0 || y !== 0) {
        setMoved({ ...view, x: view.x + x, y: view.y + y });
      }
    }
  };
  useEffect(() => {
    if (selected !== null) {
      reveal(selected); // the facts that open beside the drawing may have covered it
    }
  }, [selected, width, drawing]);
  return (
    <Box flex="1" minWidth={0}>
      <HStack justify="space-between" wrap="wrap" mb={2}>
        <Legend graph={whole} />
        <HStack gap={1}>
          {close ? <Control label="Show those alike as one again" sign="Fold" act={close} /> : null}
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
        onScroll={(event: UIEvent) => event.currentTarget.scrollTo(0, 0)} // a browser scrolls to what gets the focus
        {...usePan(view, setMoved, () => select(null))}
      >
        {width > 0 ? (
          <Content {...{ drawing, view, width, height, selected, select, reveal }} />
        ) : null}
      </Box>
    </Box>
  );
};

type ContentProps = {
  drawing: Drawing;
  view: View;
  width: number;
  height: number;
  selected: string | null;
  select: (id: string | null) => void;
  /** Moves the drawing so that the node is seen. */
  reveal: (id: string) => void;
};

const Content = ({ drawing, view, width, height, selected, select, reveal }: ContentProps) => {
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
      reveal(next);
      requestAnimationFrame(() => document.getElementById(domId(next))?.focus());
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
          onFocus={() => reveal(placed.node.id)}
        />
      ))}
    </Box>
  );
};

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

const Control = ({ label, sign, act }: { label: string; sign: string; act: () => void }) => (
  <Button size="xs" variant="outline" aria-label={label} title={label} onClick={act}>
    {sign}
  </Button>
);
