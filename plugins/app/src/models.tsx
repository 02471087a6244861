// Models: versions, aliases and why a version has its alias.
import { Badge, Box, Button, Heading, HStack } from "@chakra-ui/react";
import { useState } from "react";

import { type AliasEvent, type Model, type ModelVersion, useApi, usePages } from "./api.ts";
import { NodeLineage } from "./lineage.tsx";
import { DataTable, Loaded, Metrics, Status, Time } from "./shared.tsx";

const Aliases = ({ aliases }: { aliases: Record<string, number> }) => (
  <HStack gap={1} wrap="wrap">
    {Object.entries(aliases).map(([alias, version]) => (
      <Badge key={alias} colorPalette={alias === "production" ? "green" : "gray"}>
        {alias} → {version}
      </Badge>
    ))}
  </HStack>
);

export const ModelsPage = () => {
  const [chosen, choose] = useState<string | null>(null);
  return (
    <>
      <Loaded state={useApi<Model[]>("models", 15_000)}>
        {(models) => (
          <DataTable<Model>
            rows={models}
            id={(model) => model.name}
            empty="No model is registered yet. A pipeline registers one with register_model(...)."
            columns={[
              {
                title: "Model",
                cell: (model) => (
                  <Button size="xs" variant="plain" onClick={() => choose(model.name)}>
                    {model.name}
                  </Button>
                ),
              },
              { title: "Newest version", cell: (model) => model.latest_version ?? "–" },
              { title: "Aliases", cell: (model) => <Aliases aliases={model.aliases} /> },
              { title: "Description", cell: (model) => model.description ?? "" },
              { title: "Since", cell: (model) => <Time at={model.created_at} /> },
            ]}
          />
        )}
      </Loaded>
      {chosen ? <ModelDetail key={chosen} model={chosen} /> : null}
    </>
  );
};

const ModelDetail = ({ model }: { model: string }) => {
  const path = `models/${encodeURIComponent(model)}`;
  const versions = usePages<ModelVersion>(`${path}/versions`);
  const history = useApi<AliasEvent[]>(`${path}/history`);
  const [traced, trace] = useState<number | null>(null);
  return (
    <Box mt={6}>
      <Heading size="md">{model}: versions</Heading>
      <Loaded state={versions}>
        {(rows) => (
          <DataTable<ModelVersion>
            rows={rows}
            more={versions.more}
            id={(one) => String(one.version)}
            empty="No version."
            columns={[
              { title: "Version", cell: (one) => <b>{one.version}</b> },
              { title: "State", cell: (one) => <Status value={one.state} /> },
              { title: "Metrics", cell: (one) => <Metrics values={one.metrics} /> },
              { title: "Made", cell: (one) => <Time at={one.created_at} /> },
              { title: "By", cell: (one) => one.created_by ?? "–" },
              {
                title: "",
                cell: (one) => (
                  <Button size="xs" variant="outline" onClick={() => trace(one.version)}>
                    Lineage
                  </Button>
                ),
              },
            ]}
          />
        )}
      </Loaded>
      {traced === null ? null : <NodeLineage key={traced} node={`model:${model}@${traced}`} />}
      <Heading size="md" mt={6}>
        {model}: how its aliases moved
      </Heading>
      <Loaded state={history}>
        {(events) => (
          <DataTable<AliasEvent>
            rows={[...events].reverse()}
            id={(event) => String(event.id)}
            empty="No alias has moved."
            columns={[
              { title: "When", cell: (event) => <Time at={event.at} /> },
              { title: "Alias", cell: (event) => event.alias },
              { title: "Version", cell: (event) => `${event.from_version ?? "–"} → ${event.to_version ?? "–"}` },
              { title: "Who", cell: (event) => event.actor },
              { title: "Why", cell: (event) => event.reason ?? "" },
              {
                title: "Gates",
                cell: (event) =>
                  event.gates.map((gate) => (
                    <Box key={gate.detail}>
                      {gate.passed ? "✓" : "✗"} {gate.detail}
                    </Box>
                  )),
              },
            ]}
          />
        )}
      </Loaded>
    </Box>
  );
};
