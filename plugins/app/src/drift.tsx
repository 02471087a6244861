// Drift reports, the newest first; the page of each opens in a tab of its own.
import { Box } from "@chakra-ui/react";

import { apiUrl, type DriftReport, type Feature, usePages } from "./api.ts";
import { number, time } from "./format.ts";
import { DataTable, Loaded, Out, Status, Time } from "./shared.tsx";

const ORDER = ["drift", "warn", "degenerate", "ok"];

const drifted = (report: DriftReport): number =>
  Object.values(report.features).filter((feature) => feature.status === "drift").length;

const window = ({ window_start: start, window_end: end }: DriftReport): string =>
  start && end ? `${time(start)} – ${time(end)}` : "–";

export const DriftPage = () => {
  const reports = usePages<DriftReport>("drift");
  return (
    <Loaded state={reports}>
      {(rows) => (
        <DataTable<DriftReport>
          label="Drift reports"
          rows={rows}
          more={reports.more}
          id={(report) => `report ${report.id}`}
          empty="No drift report yet. DetectDriftOperator writes one each time it runs."
          detail={(report) => <Features report={report} />}
          columns={[
            { title: "When", cell: (report) => <Time at={report.created_at} /> },
            { title: "Of", cell: (report) => `${report.deployment ?? report.model} (version ${report.version})` },
            {
              title: "Result",
              cell: (report) => <Status value={report.drifted ? "drift" : "ok"} label={report.drifted ? "drift" : "no drift"} />,
            },
            { title: "Rows", cell: (report) => report.rows.toLocaleString("en-US") },
            { title: "Drifted", cell: (report) => `${drifted(report)} of ${Object.keys(report.features).length} features` },
            {
              title: "Why",
              wide: true,
              cell: (report) => (report.reasons.length === 0 ? "–" : report.reasons.slice(0, 3).map((reason) => <Box key={reason}>{reason}</Box>)),
            },
            { title: "Window", cell: window },
            {
              title: "Report",
              cell: (report) => (report.report_uri ? <Out href={apiUrl(`drift/${report.id}/html`)}>Report ↗</Out> : "–"),
            },
          ]}
        />
      )}
    </Loaded>
  );
};

type Row = Feature & { name: string };

/** How each feature fared, the worst first. */
const Features = ({ report }: { report: DriftReport }) => {
  const rows = Object.entries(report.features).map(([name, feature]) => ({ ...feature, name }));
  const rank = (row: Row) => (ORDER.indexOf(row.status) + ORDER.length) % ORDER.length;
  rows.sort((a, b) => rank(a) - rank(b) || (b.score ?? 0) - (a.score ?? 0) || a.name.localeCompare(b.name));
  return (
    <DataTable<Row>
      label={`Features of report ${report.id}`}
      rows={rows}
      id={(row) => row.name}
      empty="The report has no features."
      columns={[
        { title: "Feature", cell: (row) => row.name },
        { title: "Result", cell: (row) => <Status value={row.status} /> },
        { title: "Score", cell: (row) => (row.score === null ? "–" : number(row.score)) },
        { title: "Why", wide: true, cell: (row) => row.reason ?? "–" },
      ]}
    />
  );
};
