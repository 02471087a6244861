// Deployments: what serves, where, and since when.
import { Link } from "@chakra-ui/react";

import { type Deployment, useApi } from "./api.ts";
import { DataTable, Loaded, Status, Time } from "./shared.tsx";

export const DeploymentsPage = () => (
  <Loaded state={useApi<Deployment[]>("deployments", 10_000)}>
    {(deployments) => (
      <DataTable<Deployment>
        rows={deployments}
        id={(one) => one.name}
        empty="Nothing is deployed. DeployModelOperator deploys what an alias points to."
        columns={[
          { title: "Deployment", cell: (one) => <b>{one.name}</b> },
          { title: "Phase", cell: (one) => <Status value={one.phase} /> },
          { title: "Model", cell: (one) => `${one.model} version ${one.version}` },
          { title: "Before", cell: (one) => one.previous_version ?? "–" },
          {
            title: "URL",
            cell: (one) =>
              one.url ? (
                <Link href={one.url} target="_blank" rel="noreferrer">
                  {one.url}
                </Link>
              ) : (
                "–"
              ),
          },
          { title: "By", cell: (one) => `${one.flavor}${one.stack ? `, stack ${one.stack}` : ""}` },
          { title: "Changed", cell: (one) => <Time at={one.updated_at} /> },
        ]}
      />
    )}
  </Loaded>
);
