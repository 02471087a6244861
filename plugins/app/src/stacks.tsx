// Stacks: the active one first, its components, and whether they work.
import { Badge, Box, Button, Heading, HStack } from "@chakra-ui/react";
import { useState } from "react";

import { ApiError, type Check, type Component, post, type Stack, type Stacks, useApi } from "./api.ts";
import { words } from "./format.ts";
import { type Column, DataTable, Loaded, Mono, Pairs, Problem, Status } from "./shared.tsx";

export const StacksPage = () => (
  <Loaded state={useApi<Stacks>("stacks")}>
    {({ stacks }) =>
      [...stacks]
        .sort((a, b) => Number(b.active) - Number(a.active) || a.name.localeCompare(b.name))
        .map((stack) => <OneStack key={stack.name} stack={stack} />)
    }
  </Loaded>
);

type Checking = { running: boolean; rows?: Map<string, Check>; error?: Error };

const OneStack = ({ stack }: { stack: Stack }) => {
  const [checking, setChecking] = useState<Checking>({ running: false });
  const check = () => {
    setChecking({ running: true });
    post<Check[]>(`stacks/check?stack=${encodeURIComponent(stack.name)}`).then(
      (rows) => setChecking({ running: false, rows: new Map(rows.map((row) => [row.kind, row])) }),
      (error: Error) => setChecking({ running: false, error: notAllowed(error) }),
    );
  };
  return (
    <Box mb={8}>
      <HStack mb={2} gap={3}>
        <Heading size="md">{stack.name}</Heading>
        {stack.active ? <Badge colorPalette="green">active</Badge> : null}
        {stack.problem ? null : (
          <Button size="xs" variant="outline" onClick={check} loading={checking.running} loadingText="Checking">
            Check
          </Button>
        )}
      </HStack>
      {stack.problem ? <Problem error={new ApiError(400, stack.problem.detail, stack.problem.hint)} /> : null}
      {checking.error ? <Problem error={checking.error} /> : null}
      {stack.components.length > 0 ? (
        <DataTable<Component>
          label={`Components of stack ${stack.name}`}
          rows={stack.components}
          id={(component) => component.kind}
          empty="No components."
          columns={[...COLUMNS, ...(checking.rows ? resultColumns(checking.rows) : [])]}
        />
      ) : null}
    </Box>
  );
};

const notAllowed = (error: Error): Error =>
  error instanceof ApiError && error.status === 403
    ? new ApiError(403, "You may not check stacks: that writes to them, and needs the right to create assets.", null)
    : error;

const COLUMNS: Column<Component>[] = [
  { title: "Component", cell: (component) => words(component.kind) },
  { title: "Flavor", cell: (component) => <b>{component.flavor}</b> },
  {
    title: "Options",
    wide: true,
    cell: (component) => (Object.keys(component.options).length > 0 ? <Pairs values={component.options} /> : "defaults"),
  },
];

const resultColumns = (rows: Map<string, Check>): Column<Component>[] => [
  {
    title: "Check",
    cell: ({ kind }) => {
      const row = rows.get(kind);
      return row ? <Status value={row.ok ? "ok" : "failed"} /> : "–";
    },
  },
  {
    title: "Found",
    wide: true,
    cell: ({ kind }) => {
      const row = rows.get(kind);
      return row ? (
        <>
          {row.detail}
          {row.hint ? <Box color="fg.muted">{row.hint}</Box> : null}
        </>
      ) : null;
    },
  },
  { title: "Time", cell: ({ kind }) => <Mono>{Math.round((rows.get(kind)?.seconds ?? 0) * 1000)} ms</Mono> },
];
