// The entries of the bundle: one global for each react_app that plugins/ui.py names.
import { Box, Heading, Tabs } from "@chakra-ui/react";
import type { ReactNode } from "react";
import { useSearchParams } from "react-router-dom";

import { DeploymentsPage } from "./deployments.tsx";
import { DriftPage } from "./drift.tsx";
import { LineagePage, RunLineage } from "./lineage.tsx";
import { ModelsPage } from "./models.tsx";
import { RunsPage } from "./runs.tsx";
import { Boundary } from "./shared.tsx";
import { StacksPage } from "./stacks.tsx";

type Props = { dagId?: string; runId?: string; taskId?: string; mapIndex?: string };

const PAGES: { key: string; title: string; page: () => ReactNode }[] = [
  { key: "stack", title: "Stack", page: StacksPage },
  { key: "models", title: "Models", page: ModelsPage },
  { key: "deployments", title: "Deployments", page: DeploymentsPage },
  { key: "drift", title: "Drift", page: DriftPage },
  { key: "runs", title: "Runs", page: RunsPage },
  { key: "lineage", title: "Lineage", page: LineagePage },
];

// The open tab is in the URL, so that a page can be linked to, survives a reload, and "back" goes back.
const Windsock = () => {
  const [search, setSearch] = useSearchParams();
  const asked = search.get("tab");
  const tab = PAGES.some(({ key }) => key === asked) ? asked : "stack";
  return (
    <Box p={4} height="100%" overflowY="auto">
      <Heading size="lg" mb={3}>
        Windsock
      </Heading>
      <Tabs.Root value={tab} onValueChange={({ value }: { value: string }) => setSearch({ tab: value })} lazyMount unmountOnExit>
        <Tabs.List>
          {PAGES.map(({ key, title }) => (
            <Tabs.Trigger key={key} value={key}>
              {title}
            </Tabs.Trigger>
          ))}
        </Tabs.List>
        {PAGES.map(({ key, page: PageOf }) => (
          <Tabs.Content key={key} value={key}>
            <Boundary>
              <PageOf />
            </Boundary>
          </Tabs.Content>
        ))}
      </Tabs.Root>
    </Box>
  );
};

const register = (name: string, Entry: (props: Props) => ReactNode) =>
  Reflect.set(globalThis, name, (props: Props) => (
    <Boundary>
      <Entry {...props} />
    </Boundary>
  ));

register("Windsock", Windsock);
register("Windsock Lineage", RunLineage);
