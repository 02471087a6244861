// A node of a lineage, and the legend of their kinds.
import { Box, HStack, Text } from "@chakra-ui/react";
import type { KeyboardEvent } from "react";

import type { LineageGraph, LineageNode } from "./api.ts";
import { shortRun, shortType } from "./format.ts";
import { HEIGHT, type Placed, WIDTH } from "./layout.ts";
import { stateColor } from "./shared.tsx";

type Kind = LineageNode["kind"];

const KINDS: Record<Kind, { color: string; name: string }> = {
  run: { color: "purple.solid", name: "run" },
  step_run: { color: "gray.solid", name: "step" },
  artifact: { color: "blue.solid", name: "artifact" },
  model: { color: "green.solid", name: "model" },
  deployment: { color: "orange.solid", name: "deployment" },
};

const isMany = (node: LineageNode) => node.id.endsWith(" and alike");

/** What stands in a node: the line above is small. */
const words = (node: LineageNode): [above: string, label: string] => {
  const { facts } = node;
  const text = (name: string) => (typeof facts[name] === "string" ? (facts[name] as string) : "");
  switch (node.kind) {
    case "artifact":
      return [
        ["artifact", facts["version"] ? `v${facts["version"]}` : "", shortType(text("type"))].filter(Boolean).join(" · "),
        isMany(node) ? node.label : text("artifact") || node.label,
      ];
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

export const domId = (id: string) => `windsock-node-${id}`;

export const Node = ({
  placed: { node, x, y },
  selected,
  dim,
  select,
  onKeyDown,
  onFocus,
}: {
  placed: Placed;
  selected: boolean;
  dim: boolean;
  select: () => void;
  onKeyDown: (event: KeyboardEvent) => void;
  onFocus: () => void;
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
      onFocus={onFocus}
      position="absolute"
      style={{ left: x, top: y, width: WIDTH, height: HEIGHT, opacity: dim ? 0.3 : 1 }}
      bg="bg.muted"
      borderWidth={selected ? "2px" : "1px"}
      borderColor={color}
      borderRadius="md"
      boxShadow={selected ? "md" : undefined}
      borderBottomWidth={isMany(node) ? "4px" : undefined}
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

export const Legend = ({ graph }: { graph: LineageGraph }) => {
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
