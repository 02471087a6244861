// Deployments: what serves, where, since when, and what happened to it.
import { type Deployment, type DeploymentEvent, useApi } from "./api.ts";
import { DataTable, lineagePath, Loaded, Out, Status, Time, To } from "./shared.tsx";

export const DeploymentsPage = () => (
  <Loaded state={useApi<Deployment[]>("deployments", 10_000)}>
    {(deployments) => (
      <DataTable<Deployment>
        label="Deployments"
        rows={deployments}
        id={(one) => one.name}
        empty="Nothing is deployed. DeployModelOperator deploys what an alias points to."
        detail={(one) => <History name={one.name} />}
        columns={[
          { title: "Deployment", wide: true, cell: (one) => <b>{one.name}</b> },
          { title: "Phase", cell: (one) => <Status value={one.phase} /> },
          {
            title: "Model",
            cell: (one) => (
              <To to={`/plugin/windsock?tab=models&model=${encodeURIComponent(one.model)}`}>
                {one.model} version {one.version}
              </To>
            ),
          },
          { title: "Before", cell: (one) => (one.previous_version === null ? "–" : `version ${one.previous_version}`) },
          { title: "URL", wide: true, cell: (one) => (one.url ? <Out href={one.url}>{one.url}</Out> : "–") },
          { title: "By", cell: (one) => `${one.flavor}${one.stack ? `, stack ${one.stack}` : ""}` },
          { title: "Changed", cell: (one) => <Time at={one.updated_at} /> },
          { title: "Lineage", cell: (one) => <To to={lineagePath(`deployment:${one.name}`)}>Lineage</To> },
        ]}
      />
    )}
  </Loaded>
);

const History = ({ name }: { name: string }) => (
  <Loaded state={useApi<DeploymentEvent[]>(`deployments/${encodeURIComponent(name)}/history`)}>
    {(events) => (
      <DataTable<DeploymentEvent>
        label={`History of ${name}`}
        rows={events}
        id={(event) => `event ${event.id}`}
        empty="Nothing is recorded."
        columns={[
          { title: "When", cell: (event) => <Time at={event.at} /> },
          { title: "What", cell: (event) => event.action },
          { title: "Version", cell: (event) => `${event.from_version ?? "–"} → ${event.to_version ?? "–"}` },
          { title: "Who", cell: (event) => event.actor },
          { title: "Why", wide: true, cell: (event) => event.reason ?? "–" },
        ]}
      />
    )}
  </Loaded>
);
