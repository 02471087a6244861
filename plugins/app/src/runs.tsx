// Runs of pipelines, the newest first, with the reason of each and what became of its steps.
import { Text } from "@chakra-ui/react";

import { type Run, type StepRun, useApi, usePages } from "./api.ts";
import { isLocal, shortRun } from "./format.ts";
import { DataTable, lineagePath, Loaded, Pairs, runPath, Status, Time, To, Took } from "./shared.tsx";

const reason = (run: Run): string => {
  const { kind, reason: said, asset } = run.reason ?? {};
  return [kind, said ?? asset].filter(Boolean).join(": ") || "–";
};

export const RunsPage = () => {
  const runs = usePages<Run>("runs");
  return (
    <Loaded state={runs}>
      {(rows) => (
        <DataTable<Run>
          label="Runs"
          rows={rows}
          more={runs.more}
          id={(run) => run.run_id}
          empty="No pipeline has run yet. Trigger a DAG that airflow_dag(...) made."
          detail={(run) => <Steps run={run} />}
          columns={[
            {
              title: "Pipeline",
              cell: (run) => `${run.pipeline ?? run.dag_id}${run.pipeline_version ? ` v${run.pipeline_version}` : ""}`,
            },
            {
              title: "Run",
              cell: (run) =>
                isLocal(run.run_id) ? (
                  <Text as="span" title={`${run.run_id}: ran without Airflow`}>
                    {shortRun(run.run_id)}
                  </Text>
                ) : (
                  <To to={runPath(run.dag_id, run.run_id)} title={run.run_id}>
                    {run.dag_id} {shortRun(run.run_id)}
                  </To>
                ),
            },
            { title: "State", cell: (run) => <Status value={run.state} /> },
            { title: "Started", cell: (run) => <Time at={run.started_at} /> },
            { title: "Took", cell: (run) => <Took from={run.started_at} to={run.ended_at} /> },
            { title: "Why", wide: true, cell: reason },
            {
              title: "Lineage",
              cell: (run) => (
                <To
                  to={
                    isLocal(run.run_id)
                      ? lineagePath(`run:${run.id}`)
                      : `${runPath(run.dag_id, run.run_id)}/plugin/windsock-run-lineage`
                  }
                >
                  Lineage
                </To>
              ),
            },
          ]}
        />
      )}
    </Loaded>
  );
};

const Steps = ({ run }: { run: Run }) => {
  const path = `runs/${encodeURIComponent(run.dag_id)}/${encodeURIComponent(run.run_id)}/steps`;
  return (
    <Loaded state={useApi<StepRun[]>(path)}>
      {(steps) => (
        <DataTable<StepRun>
          label={`Steps of ${run.run_id}`}
          rows={steps}
          id={(step) => step.id}
          empty="No step has started."
          columns={[
            { title: "Step", cell: (step) => `${step.step}${step.map_index < 0 ? "" : ` [${step.map_index}]`}` },
            { title: "State", cell: (step) => <Status value={step.state} /> },
            { title: "Try", cell: (step) => step.try_number },
            { title: "Started", cell: (step) => <Time at={step.started_at} /> },
            { title: "Took", cell: (step) => <Took from={step.started_at} to={step.ended_at} /> },
            { title: "Metrics", wide: true, cell: (step) => <Pairs values={step.metrics} /> },
            { title: "Error", wide: true, cell: (step) => step.error ?? "–" },
          ]}
        />
      )}
    </Loaded>
  );
};
