// Runs of pipelines, the newest first, with the reason of each.
import { Link } from "@chakra-ui/react";
import { Link as RouterLink } from "react-router-dom";

import { type Run, usePages } from "./api.ts";
import { DataTable, Loaded, Status, Time } from "./shared.tsx";

const reason = (run: Run): string => {
  const { kind, reason: said, asset } = run.reason ?? {};
  return [kind, said ?? asset].filter(Boolean).join(": ");
};

export const RunsPage = () => {
  const runs = usePages<Run>("runs");
  return (
    <Loaded state={runs}>
      {(rows) => (
        <DataTable<Run>
          rows={rows}
          more={runs.more}
          id={(run) => run.id}
          empty="No pipeline has run yet."
          columns={[
            { title: "Pipeline", cell: (run) => `${run.pipeline ?? run.dag_id}${run.pipeline_version ? ` v${run.pipeline_version}` : ""}` },
            {
              title: "Run",
              cell: (run) => (
                <Link asChild>
                  <RouterLink to={`/dags/${run.dag_id}/runs/${encodeURIComponent(run.run_id)}`}>{run.run_id}</RouterLink>
                </Link>
              ),
            },
            { title: "State", cell: (run) => <Status value={run.state} /> },
            { title: "Why", cell: reason },
            { title: "Started", cell: (run) => <Time at={run.started_at} /> },
            { title: "Ended", cell: (run) => <Time at={run.ended_at} /> },
          ]}
        />
      )}
    </Loaded>
  );
};
