// Lineage: of a DAG's run as a tab on Airflow's own pages, and of any node as a page of ours.
import { Badge, Box, Heading, HStack, Text } from "@chakra-ui/react";
import { useSearchParams } from "react-router-dom";

import { ApiError, type Deployment, type LineageGraph, type Model, useApi } from "./api.ts";
import { Graph } from "./graph.tsx";
import { Empty, lineagePath, Loaded, To } from "./shared.tsx";

export const RunLineage = ({ dagId, runId }: { dagId?: string; runId?: string }) => {
  const query = runId ? `?run_id=${encodeURIComponent(runId)}` : "";
  const state = useApi<LineageGraph>(dagId ? `lineage/dags/${encodeURIComponent(dagId)}${query}` : null, 15_000);
  const missing = state.error instanceof ApiError && state.error.status === 404;
  return (
    <Box p={4}>
      <Heading size="sm" mb={3}>
        {runId ? "What this run read and made" : "What the latest run read and made"}
      </Heading>
      {missing ? (
        <Empty>No Windsock step of this {runId ? "run" : "DAG"} has started yet.</Empty>
      ) : (
        <Loaded state={state}>{(graph) => <Graph graph={graph} />}</Loaded>
      )}
    </Box>
  );
};

export const NodeLineage = ({ node }: { node: string }) => (
  <Loaded state={useApi<LineageGraph>(`lineage?node=${encodeURIComponent(node)}`)}>{(graph) => <Graph graph={graph} />}</Loaded>
);

/** Everything around one node; without one, a choice of where to begin. */
export const LineagePage = () => {
  const [search] = useSearchParams();
  const node = search.get("node");
  if (node === null) {
    return <Beginnings />;
  }
  return (
    <Box>
      <HStack mb={3} gap={3}>
        <Heading size="sm" overflowWrap="anywhere">
          Around {node}
        </Heading>
        <To to="/plugin/windsock?tab=lineage">Begin elsewhere</To>
      </HStack>
      <NodeLineage key={node} node={node} />
    </Box>
  );
};

const Beginnings = () => {
  const models = useApi<Model[]>("models");
  const deployments = useApi<Deployment[]>("deployments");
  return (
    <Box>
      <Text color="fg.muted" mb={4}>
        From a model or a deployment back to the data, and from there to everything else. Artifacts, steps and runs are
        reached from the graph, and from the Windsock Lineage tab of a DAG or a DAG run.
      </Text>
      <Loaded state={deployments}>
        {(found) => <Choice title="Deployments" entries={found.map((one) => [`deployment:${one.name}`, one.name, []])} />}
      </Loaded>
      <Loaded state={models}>
        {(found) =>
          found.length === 0 ? (
            <Empty>No model is registered yet.</Empty>
          ) : (
            <Choice title="Models" entries={found.flatMap(versionsOf)} />
          )
        }
      </Loaded>
    </Box>
  );
};

type Entry = [node: string, label: string, aliases: string[]];

/** The newest version of a model, and those that an alias points to. */
const versionsOf = (model: Model): Entry[] => {
  const versions = new Set([model.latest_version, ...Object.values(model.aliases)].filter((one) => one !== null));
  return [...versions]
    .sort((a, b) => b - a)
    .map((version) => [
      `model:${model.name}@${version}`,
      `${model.name} version ${version}`,
      Object.keys(model.aliases).filter((alias) => model.aliases[alias] === version),
    ]);
};

const Choice = ({ title, entries }: { title: string; entries: Entry[] }) =>
  entries.length === 0 ? null : (
    <Box mb={4}>
      <Heading size="sm" mb={1}>
        {title}
      </Heading>
      {entries.map(([node, label, aliases]) => (
        <HStack key={node} gap={2}>
          <To to={lineagePath(node)}>{label}</To>
          {aliases.map((alias) => (
            <Badge key={alias}>{alias}</Badge>
          ))}
        </HStack>
      ))}
    </Box>
  );
