// A lineage graph: what a thing came from and what came of it. Click a node to see what is known about it.
import { Box, Code, Heading, Table, Text } from "@chakra-ui/react";
import { useMemo, useState } from "react";

import { type LineageGraph, type LineageNode, useApi } from "./api.ts";
import { draw, HEIGHT, WIDTH } from "./layout.ts";
import { Empty, Loaded } from "./shared.tsx";

const KIND: Record<LineageNode["kind"], { color: string; name: string }> = {
  artifact: { color: "var(--chakra-colors-blue-solid, #3182ce)", name: "artifact" },
  step_run: { color: "var(--chakra-colors-gray-solid, #718096)", name: "step" },
  run: { color: "var(--chakra-colors-purple-solid, #805ad5)", name: "run" },
  model: { color: "var(--chakra-colors-green-solid, #38a169)", name: "model" },
  deployment: { color: "var(--chakra-colors-orange-solid, #dd6b20)", name: "deployment" },
};

const shorten = (text: string, length = 26) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

export const Graph = ({ graph }: { graph: LineageGraph }) => {
  const drawing = useMemo(() => draw(graph), [graph]);
  const [selected, select] = useState<LineageNode | null>(null);
  if (graph.nodes.length === 0) {
    return <Empty>Nothing is recorded here yet.</Empty>;
  }
  return (
    <Box>
      {graph.truncated ? <Text color="fg.muted">There is more than is shown.</Text> : null}
      <Box overflow="auto" borderWidth="1px" borderRadius="md" p={3} data-testid="windsock-lineage">
        <svg
          width={drawing.width + 4}
          height={drawing.height + 4}
          viewBox={`-2 -2 ${drawing.width + 4} ${drawing.height + 4}`}
          role="img"
          aria-label={`Lineage of ${graph.nodes.length} nodes`}
        >
          {drawing.paths.map(({ edge, d }) => (
            <path key={`${edge.source} ${edge.target} ${edge.label}`} d={d} fill="none" stroke="currentColor" opacity={0.35}>
              <title>{edge.label}</title>
            </path>
          ))}
          {drawing.nodes.map(({ node, x, y }) => (
            <g
              key={node.id}
              transform={`translate(${x},${y})`}
              onClick={() => select(node)}
              onKeyDown={(event) => event.key === "Enter" && select(node)}
              tabIndex={0}
              role="button"
              style={{ cursor: "pointer" }}
            >
              <title>{node.id}</title>
              <rect
                width={WIDTH}
                height={HEIGHT}
                rx={8}
                fill="var(--chakra-colors-bg-subtle, transparent)"
                stroke={KIND[node.kind].color}
                strokeWidth={selected?.id === node.id ? 3 : 1.5}
              />
              <rect width={6} height={HEIGHT} rx={3} fill={KIND[node.kind].color} />
              <text x={16} y={20} fontSize={11} fill="currentColor" opacity={0.7}>
                {KIND[node.kind].name}
              </text>
              <text x={16} y={39} fontSize={13} fill="currentColor">
                {shorten(node.label)}
              </text>
            </g>
          ))}
        </svg>
      </Box>
      {selected ? <Facts node={selected} /> : <Text mt={2} color="fg.muted">Click a node to see what is known about it.</Text>}
    </Box>
  );
};

const Facts = ({ node }: { node: LineageNode }) => (
  <Box mt={4}>
    <Heading size="sm">{node.label}</Heading>
    <Code size="sm">{node.id}</Code>
    <Table.Root size="sm" mt={2}>
      <Table.Body>
        {Object.entries(node.facts).map(([name, value]) => (
          <Table.Row key={name}>
            <Table.Cell width="12rem">{name}</Table.Cell>
            <Table.Cell wordBreak="break-all">
              {typeof value === "object" && value !== null ? <Code size="sm">{JSON.stringify(value)}</Code> : String(value ?? "–")}
            </Table.Cell>
          </Table.Row>
        ))}
      </Table.Body>
    </Table.Root>
  </Box>
);

export const RunLineage = ({ dagId, runId }: { dagId?: string; runId?: string }) => {
  const query = runId ? `?run_id=${encodeURIComponent(runId)}` : "";
  const state = useApi<LineageGraph>(dagId ? `lineage/dags/${encodeURIComponent(dagId)}${query}` : null, 15_000);
  const missing = state.error && "status" in state.error && state.error.status === 404;
  return (
    <Box p={4}>
      <Heading size="md" mb={3}>
        Lineage of {runId ? "this run" : "the latest run"}
      </Heading>
      {missing ? <Empty>No Windsock step of this DAG has run yet.</Empty> : <Loaded state={state}>{(graph) => <Graph graph={graph} />}</Loaded>}
    </Box>
  );
};

export const NodeLineage = ({ node }: { node: string }) => (
  <Loaded state={useApi<LineageGraph>(`lineage?node=${encodeURIComponent(node)}`)}>{(graph) => <Graph graph={graph} />}</Loaded>
);
