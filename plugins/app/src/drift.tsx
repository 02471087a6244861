// Drift reports, the newest first.
import { Box, Link } from "@chakra-ui/react";

import { apiUrl, type DriftReport, usePages } from "./api.ts";
import { DataTable, Loaded, Status, Time } from "./shared.tsx";

const drifted = (report: DriftReport): string[] =>
  Object.entries(report.features).flatMap(([name, feature]) => (feature.status === "drift" ? [name] : []));

export const DriftPage = () => {
  const reports = usePages<DriftReport>("drift");
  return (
    <Loaded state={reports}>
      {(rows) => (
        <DataTable<DriftReport>
          rows={rows}
          more={reports.more}
          id={(report) => String(report.id)}
          empty="No drift report yet. DetectDriftOperator writes one each time it runs."
          columns={[
            { title: "When", cell: (report) => <Time at={report.created_at} /> },
            { title: "Of", cell: (report) => `${report.deployment ?? report.model} (version ${report.version})` },
            { title: "Result", cell: (report) => <Status value={report.drifted ? "drift" : "ok"} label={report.drifted ? "drift" : "no drift"} /> },
            { title: "Rows", cell: (report) => report.rows.toLocaleString() },
            { title: "Features", cell: (report) => `${drifted(report).length} of ${Object.keys(report.features).length}` },
            {
              title: "Why",
              cell: (report) => report.reasons.slice(0, 3).map((reason) => <Box key={reason}>{reason}</Box>),
            },
            {
              title: "",
              cell: (report) =>
                report.report_uri ? (
                  <Link href={apiUrl(`drift/${report.id}/html`)} target="_blank" rel="noreferrer">
                    Report
                  </Link>
                ) : null,
            },
          ]}
        />
      )}
    </Loaded>
  );
};
