"""The built-in step that validates a table."""

from __future__ import annotations

from typing import Any

from ..pipelines.step import step


@step(cache=False, compute="local")
def validate_data(data: Any, expectations: list[dict[str, Any]]) -> dict[str, Any]:
    """Check a table (or the files of a path) against expectations; returns ``{"passed", "rows", "checks": […]}``.

    It does not raise when they are not met: a condition on ``result["passed"]`` or ``ValidateDataOperator`` decides.
    Metrics: ``failed_expectations``, ``rows``. Raises ``DataUnreadable``, and ``ComponentInvalid`` for an unknown
    expectation.
    """
    from ..runtime.context import context
    from .tables import read_table

    current = context()
    result = current.stack.component("data_validator").validate(read_table(data), expectations)
    current.log_metrics({"failed_expectations": len(result.failed), "rows": result.rows})
    current.logger.info("%s", result.summary())
    return {**result.to_dict(), "summary": result.summary()}
