"""Links from a task in the Airflow UI to what Windsock knows about it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink


class LineageLink(BaseOperatorLink):
    """The lineage of the task's run: what went in, what came out, which model it became."""

    name = "Lineage"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Evaluated in the worker once, then kept as an XCom; it must be absolute when the UI has a path of its own."""
        from airflow.sdk.configuration import conf

        base = conf.get("api", "base_url", fallback="").rstrip("/")
        # The colons and the plus of a run id as Airflow writes them: its tabs compare addresses letter by letter.
        return f"{base}/dags/{quote(ti_key.dag_id)}/runs/{quote(ti_key.run_id, safe=':+')}/plugin/windsock-run-lineage"


class DriftReportLink(BaseOperatorLink):
    """The drift report that the task wrote, as a page."""

    name = "Drift report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        from airflow.sdk.configuration import conf

        report = getattr(operator, "report_id", None)
        base = conf.get("api", "base_url", fallback="").rstrip("/")
        return f"{base}/windsock/api/drift/{report}/html" if report is not None else ""
