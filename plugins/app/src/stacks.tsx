// Stacks: the active one, its components, and whether they work.
import { Badge, Box, Button, Heading, HStack } from "@chakra-ui/react";
import { useState } from "react";

import { type Check, type Component, type Stacks, useApi } from "./api.ts";
import { DataTable, Loaded, Mono, Status } from "./shared.tsx";

export const StacksPage = () => {
  const [checked, check] = useState<string | null>(null);
  return (
    <Loaded state={useApi<Stacks>("stacks")}>
      {({ stacks }) => (
        <>
          {[...stacks]
            .sort((a, b) => Number(b.active) - Number(a.active))
            .map((stack) => (
              <Box key={stack.name} mb={8}>
                <HStack mb={2} gap={3}>
                  <Heading size="md">{stack.name}</Heading>
                  {stack.active ? <Badge colorPalette="green">active</Badge> : null}
                  <Button size="xs" variant="outline" onClick={() => check(stack.name)}>
                    Check
                  </Button>
                </HStack>
                <DataTable<Component>
                  rows={stack.components}
                  id={(component) => component.kind}
                  empty="No components."
                  columns={[
                    { title: "Component", cell: (component) => component.kind },
                    { title: "Flavor", cell: (component) => <b>{component.flavor}</b> },
                    {
                      title: "Options",
                      cell: (component) =>
                        Object.keys(component.options).length > 0 ? <Mono>{JSON.stringify(component.options)}</Mono> : "defaults",
                    },
                  ]}
                />
                {checked === stack.name ? <Checks stack={stack.name} /> : null}
              </Box>
            ))}
        </>
      )}
    </Loaded>
  );
};

const Checks = ({ stack }: { stack: string }) => (
  <Loaded state={useApi<Check[]>(`stacks/check?stack=${encodeURIComponent(stack)}`)}>
    {(checks) => (
      <DataTable<Check>
        rows={checks}
        id={(one) => one.kind}
        empty="Nothing to check."
        columns={[
          { title: "Checked", cell: (one) => one.kind },
          { title: "Result", cell: (one) => <Status value={one.ok ? "ok" : "failed"} /> },
          { title: "Detail", cell: (one) => `${one.detail}${one.hint ? ` ${one.hint}` : ""}` },
          { title: "Time", cell: (one) => `${Math.round(one.seconds * 1000)} ms` },
        ]}
      />
    )}
  </Loaded>
);
