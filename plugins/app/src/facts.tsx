// What is known about a node of the lineage, and where in Airflow there is more about it.
import { Box, Button, CloseButton, Flex, Heading, HStack, Text } from "@chakra-ui/react";
import type { ReactNode } from "react";

import type { LineageGraph, LineageNode } from "./api.ts";
import { bytes, isLocal, plain, words } from "./format.ts";
import { Digest, lineagePath, Mono, Pairs, runPath, Status, Time, To, Took } from "./shared.tsx";

const LEFT_OUT = new Set(["run", "step_run", "producer", "map_index", "hidden"]);
// What the heading says already.
const IN_LABEL: Record<LineageNode["kind"], string[]> = {
  artifact: ["artifact", "version"],
  step_run: ["step"],
  run: ["run_id"],
  model: ["model", "version"],
  deployment: [],
};
const KIND = { artifact: "artifact version", step_run: "step", run: "run", model: "model version", deployment: "deployment" };

type Value = { name: string; value: unknown; facts: Record<string, unknown> };

const Fact = ({ name, value, facts }: Value): ReactNode => {
  if (typeof value === "string") {
    if (name.endsWith("_at")) {
      return <Time at={value} />;
    }
    if (name === "digest" || name === "cached_from") {
      return <Digest value={value} />;
    }
    if (name === "state" || name === "phase") {
      const [from, to] = [facts["started_at"], facts["ended_at"]];
      return (
        <HStack gap={2}>
          <Status value={value} />
          {typeof from === "string" && typeof to === "string" ? <Took from={from} to={to} /> : null}
        </HStack>
      );
    }
    return ["uri", "url", "type", "run_id"].includes(name) ? <Mono>{value}</Mono> : value;
  }
  if (name === "size" && typeof value === "number") {
    return bytes(value);
  }
  if (name === "version" || name === "pipeline_version") {
    return String(value);
  }
  if (Array.isArray(value)) {
    return value.map(plain).join(", ");
  }
  return typeof value === "object" && value !== null ? <Pairs values={value as Record<string, unknown>} /> : plain(value);
};

const worthShowing = ([name, value]: [string, unknown]): boolean => {
  if (LEFT_OUT.has(name) || value === null || value === undefined || value === "") {
    return false;
  }
  return typeof value !== "object" || Object.keys(value).length > 0;
};

/** Pages of Airflow and of ours that show the node. */
const links = (node: LineageNode, graph: LineageGraph): { to: string; text: string }[] => {
  const { facts } = node;
  const own = { to: lineagePath(node.id), text: "Everything around it" };
  const run = node.kind === "run" ? node : graph.nodes.find((one) => one.id === `run:${String(facts["run"])}`);
  const [dag, runId] = [run?.facts["dag_id"], run?.facts["run_id"]];
  const local = typeof runId !== "string" || isLocal(runId);
  if (node.kind === "run" && !local) {
    return [{ to: runPath(String(dag), String(runId)), text: "The DAG run" }, own];
  }
  if (node.kind === "step_run" && !local && typeof facts["task_id"] === "string") {
    const index = Number(facts["map_index"] ?? -1);
    const task = `${runPath(String(dag), String(runId))}/tasks/${encodeURIComponent(facts["task_id"])}`;
    return [{ to: index < 0 ? task : `${task}/mapped/${index}`, text: "The task and its log" }, own];
  }
  if (node.kind === "model") {
    return [{ to: `/plugin/windsock?tab=models&model=${encodeURIComponent(String(facts["model"]))}`, text: "The model" }, own];
  }
  return node.kind === "deployment" ? [{ to: "/plugin/windsock?tab=deployments", text: "Deployments" }, own] : [own];
};

type Props = {
  node: LineageNode;
  graph: LineageGraph;
  close: () => void;
  /** The nodes that this one stands for, and how to show each. */
  group?: LineageNode[];
  open?: () => void;
};

export const Facts = ({ node, graph, close, group, open }: Props) => (
  <Box
    width={{ base: "100%", lg: "22rem" }}
    flex="none"
    borderWidth="1px"
    borderRadius="md"
    p={4}
    maxHeight="940px"
    overflowY="auto"
    role="region"
    aria-label={`About ${node.label}`}
    data-testid="windsock-facts"
  >
    <Flex justify="space-between" align="start" gap={2}>
      <Box minWidth={0}>
        <Text color="fg.muted" fontSize="sm">
          {KIND[node.kind]}
        </Text>
        <Heading size="sm" overflowWrap="anywhere">
          {node.label}
        </Heading>
      </Box>
      <CloseButton size="xs" onClick={close} aria-label="Close" />
    </Flex>
    {group && open ? (
      <Box my={2} fontSize="sm">
        <Text color="fg.muted">What these {group.length} share. They read and made things of the same names.</Text>
        <Button size="xs" variant="outline" mt={2} onClick={open}>
          Show each
        </Button>
      </Box>
    ) : null}
    <HStack gap={4} my={2} fontSize="sm" wrap="wrap">
      {(group ? [] : links(node, graph)).map(({ to, text }) => (
        <To key={to} to={to}>
          {text}
        </To>
      ))}
    </HStack>
    {node.facts["hidden"] ? <Text color="fg.muted">You may not read the DAG that this belongs to.</Text> : null}
    <Box as="dl" fontSize="sm">
      {Object.entries(node.facts)
        .filter(worthShowing)
        .filter(([name]) => group !== undefined || !IN_LABEL[node.kind].includes(name))
        .map(([name, value]) => (
          <Box key={name} mb={2}>
            <Text as="dt" color="fg.muted" fontSize="xs">
              {words(name)}
            </Text>
            <Box as="dd" overflowWrap="anywhere">
              <Fact name={name} value={value} facts={node.facts} />
            </Box>
          </Box>
        ))}
    </Box>
  </Box>
);
