"""Validating data, as an Airflow task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .base import WindsockOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ValidateDataOperator(WindsockOperator):
    """Checks a table against expectations (Great Expectations by default) before anything is built on it.

    The full result is stored as an artifact with lineage to the data. A failed ``critical`` expectation fails the task
    without retries (the data will not be better in a minute), skips what follows, or warns, as ``on_failure`` says.
    XCom: ``{"passed", "rows", "failed", "checks", "uri"}``.

    :param data: ``{"output": Ref}`` of a step task's XCom, a ``Ref``, or a path of a Parquet or CSV file or folder (templated).
    :param expectations: ``[{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "age"}}, …]``, or the path
        of a JSON or YAML file that holds them (a whole suite exported by Great Expectations works) (templated).
    :param on_failure: ``fail`` (default), ``skip`` or ``warn``.
    :param name: name of the result's artifact; default: the task id.
    """

    template_fields: Sequence[str] = ("data", "expectations", *WindsockOperator.template_fields)
    template_fields_renderers = {"data": "json", "expectations": "json"}  # noqa: RUF012 - Airflow's own declaration

    def __init__(
        self,
        *,
        data: Any,
        expectations: Sequence[Mapping[str, Any]] | str,
        on_failure: Literal["fail", "skip", "warn"] = "fail",
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if on_failure not in ("fail", "skip", "warn"):
            raise ValueError(f"on_failure is {on_failure!r}; it must be fail, skip or warn.")
        super().__init__(**kwargs)
        self.data = data
        self.expectations = expectations
        self.on_failure = on_failure
        self.name = name

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

        from ..provider.validation.base import DataValidator
        from .recording import record_task

        with record_task(self, context, step="validate_data") as task:
            table = task.read_table(self.data)
            validator = self.loaded_stack.component("data_validator")
            if not isinstance(validator, DataValidator):
                raise TypeError(f"{type(validator).__name__} is no DataValidator.")
            result = validator.validate(table, load_expectations(self.expectations))
            task.log_metric("failed_expectations", len(result.failed))
            task.log_metric("rows", result.rows)
            stored = task.save(result.to_dict(), name=self.name or self.task_id)
        self.log.info(result.summary())
        if not result.passed and self.on_failure != "warn":
            raise (AirflowSkipException if self.on_failure == "skip" else AirflowFailException)(result.summary())
        return {
            "passed": result.passed,
            "rows": result.rows,
            "failed": len(result.failed),
            "checks": len(result.checks),
            "uri": stored["uri"],
        }


def load_expectations(given: Sequence[Mapping[str, Any]] | str) -> list[Mapping[str, Any]]:
    """Expectations from a list, or from a JSON or YAML file. Raises ``DataUnreadable``."""
    if not isinstance(given, str):
        return list(given)
    import yaml

    from ..provider.errors import DataUnreadable

    try:
        # JSON is YAML, so one parser reads both.
        content = yaml.safe_load(Path(given).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise DataUnreadable(f"The expectations file {given} cannot be read: {error}") from None
    found = content.get("expectations") if isinstance(content, Mapping) else content
    if not isinstance(found, list):
        raise DataUnreadable(f"The expectations file {given} holds no list of expectations.")
    return found
