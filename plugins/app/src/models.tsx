// Models: versions, aliases, and why a version has its alias.
import { Badge, Box, Button, Heading, HStack, Text } from "@chakra-ui/react";
import { useState } from "react";
import { useSearchParams } from "react-router-dom";

import { type AliasEvent, type Model, type ModelVersion, useApi, usePages, type Why } from "./api.ts";
import { isLocal, shortType } from "./format.ts";
import { NodeLineage } from "./lineage.tsx";
import { DataTable, Digest, Gates, lineagePath, Loaded, Pairs, runPath, Status, Time, To } from "./shared.tsx";

const AliasBadge = ({ alias, version }: { alias: string; version?: number }) => (
  <Badge colorPalette={alias === "production" ? "green" : "gray"}>{version === undefined ? alias : `${alias} → ${version}`}</Badge>
);

/** All models, or the one that the URL names. */
export const ModelsPage = () => {
  const [search] = useSearchParams();
  const models = useApi<Model[]>("models", 15_000);
  const name = search.get("model");
  return <Loaded state={models}>{(found) => (name === null ? <Models models={found} /> : <OneModel name={name} models={found} />)}</Loaded>;
};

const Models = ({ models }: { models: Model[] }) => (
  <DataTable<Model>
    label="Models"
    rows={models}
    id={(model) => model.name}
    empty="No model is registered yet. A pipeline registers one with register_model(...)."
    columns={[
      {
        title: "Model",
        wide: true,
        cell: (model) => (
          <>
            <To to={`/plugin/windsock?tab=models&model=${encodeURIComponent(model.name)}`}>{model.name}</To>
            {model.description ? <Box color="fg.muted">{model.description}</Box> : null}
          </>
        ),
      },
      { title: "Newest version", cell: (model) => model.latest_version ?? "–" },
      {
        title: "Aliases",
        cell: (model) => (
          <HStack gap={1} wrap="wrap">
            {Object.entries(model.aliases).map(([alias, version]) => (
              <AliasBadge key={alias} alias={alias} version={version} />
            ))}
          </HStack>
        ),
      },
      { title: "Since", cell: (model) => <Time at={model.created_at} /> },
    ]}
  />
);

const OneModel = ({ name, models }: { name: string; models: Model[] }) => {
  const path = `models/${encodeURIComponent(name)}`;
  const aliases = models.find((model) => model.name === name)?.aliases ?? {};
  return (
    <Box>
      <HStack mb={2} gap={3}>
        <To to="/plugin/windsock?tab=models">All models</To>
        <Text color="fg.muted">/</Text>
        <Heading size="md">{name}</Heading>
      </HStack>
      <Versions path={path} aliases={aliases} />
      {Object.entries(aliases).map(([alias, version]) => (
        <WhyAlias key={alias} path={path} alias={alias} version={version} />
      ))}
      <Heading size="sm" mt={6} mb={1}>
        How its aliases moved
      </Heading>
      <History path={path} />
    </Box>
  );
};

const Versions = ({ path, aliases }: { path: string; aliases: Record<string, number> }) => {
  const versions = usePages<ModelVersion>(`${path}/versions`);
  return (
    <Loaded state={versions}>
      {(rows) => (
        <DataTable<ModelVersion>
          label="Versions"
          rows={rows}
          more={versions.more}
          id={(one) => `version ${one.version}`}
          empty="There is no such model."
          detail={(one) => <Details version={one} />}
          columns={[
            { title: "Version", cell: (one) => <b>{one.version}</b> },
            {
              title: "Aliases",
              cell: (one) => (
                <HStack gap={1}>
                  {Object.keys(aliases)
                    .filter((alias) => aliases[alias] === one.version)
                    .map((alias) => (
                      <AliasBadge key={alias} alias={alias} />
                    ))}
                </HStack>
              ),
            },
            { title: "State", cell: (one) => <Status value={one.state} /> },
            { title: "Metrics", wide: true, cell: (one) => <Pairs values={one.metrics} /> },
            { title: "Made", cell: (one) => <Time at={one.created_at} /> },
            { title: "By", cell: (one) => one.created_by ?? "–" },
            {
              title: "Lineage",
              cell: (one) => <To to={lineagePath(`model:${one.model}@${one.version}`)}>Lineage</To>,
            },
          ]}
        />
      )}
    </Loaded>
  );
};

const Details = ({ version }: { version: ModelVersion }) => {
  const [traced, trace] = useState(false);
  return (
    <Box fontSize="sm">
      {version.description ? <Text mb={2}>{version.description}</Text> : null}
      <Text as="div" mb={2}>
        {shortType(version.artifact.type)} {version.artifact.artifact} version {version.artifact.version}
        <Digest value={version.artifact.digest} />
      </Text>
      <Text color="fg.muted">Parameters</Text>
      <Pairs values={version.parameters} />
      {Object.keys(version.tags).length > 0 ? (
        <>
          <Text color="fg.muted">Tags</Text>
          <Pairs values={version.tags} />
        </>
      ) : null}
      {traced ? (
        <Box mt={4}>
          <NodeLineage node={`model:${version.model}@${version.version}`} />
        </Box>
      ) : (
        <Button size="xs" variant="outline" mt={3} onClick={() => trace(true)}>
          Show its lineage here
        </Button>
      )}
    </Box>
  );
};

const WhyAlias = ({ path, alias, version }: { path: string; alias: string; version: number }) => {
  const [open, setOpen] = useState(alias === "production");
  const why = useApi<Why>(open ? `${path}/why/${encodeURIComponent(alias)}?of=${version}` : null);
  return (
    <Box mt={4} borderWidth="1px" borderRadius="md" px={4} py={3}>
      <HStack justify="space-between">
        <Heading size="sm">
          Why version {version} is {alias}
        </Heading>
        <Button size="xs" variant="ghost" aria-expanded={open} onClick={() => setOpen(!open)}>
          {open ? "Hide" : "Show"}
        </Button>
      </HStack>
      {open ? <Loaded state={why}>{(found) => <Reasons why={found} />}</Loaded> : null}
    </Box>
  );
};

const Reasons = ({ why }: { why: Why }) => (
  <Box fontSize="sm" mt={2}>
    <Text>
      <b>{why.actor}</b> moved it here on <Time at={why.since} />
      {why.previous === null ? "" : ` from version ${why.previous}`}
      {why.reason ? `: ${why.reason}` : "."}
    </Text>
    {why.gates.length > 0 ? <Gates gates={why.gates} /> : null}
    {why.made_in ? (
      <Text>
        It was made{why.made_in.pipeline ? ` by pipeline ${why.made_in.pipeline} version ${why.made_in.pipeline_version}` : ""} in{" "}
        {isLocal(why.made_in.run_id) ? (
          `${why.made_in.run_id}, without Airflow`
        ) : (
          <To to={runPath(why.made_in.dag_id, why.made_in.run_id)}>{why.made_in.run_id}</To>
        )}
        .
      </Text>
    ) : null}
    {why.data.map((data) => (
      <Text key={data.digest} as="div">
        From data {data.artifact} version {data.version}
        <Digest value={data.digest} />
      </Text>
    ))}
  </Box>
);

const History = ({ path }: { path: string }) => (
  <Loaded state={useApi<AliasEvent[]>(`${path}/history`)}>
    {(events) => (
      <DataTable<AliasEvent>
        label="Moves of aliases"
        rows={events}
        id={(event) => `move ${event.id}`}
        empty="No alias has moved."
        columns={[
          { title: "When", cell: (event) => <Time at={event.at} /> },
          { title: "Alias", cell: (event) => <AliasBadge alias={event.alias} /> },
          { title: "Version", cell: (event) => `${event.from_version ?? "–"} → ${event.to_version ?? "–"}` },
          { title: "Who", cell: (event) => event.actor },
          { title: "Why", wide: true, cell: (event) => event.reason ?? "–" },
          { title: "Gates", wide: true, cell: (event) => <Gates gates={event.gates} /> },
        ]}
      />
    )}
  </Loaded>
);
