"""Validating data, as an Airflow task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..provider.steps import validate_data
from .calls import BuiltInStepOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ValidateDataOperator(BuiltInStepOperator):
    """Checks a table against expectations (Great Expectations by default) before anything is built on it.

    It is the step ``windsock.provider.steps.validate_data`` as a task of your own DAG: its full result is an artifact,
    with lineage to the data. A failed ``critical`` expectation fails the task
    without retries (the data will not be better in a minute), skips what follows, or warns, as ``on_failure`` says.
    XCom: ``{"output": Ref}`` of ``{"passed", "rows", "checks", "summary"}``.

    :param data: ``{"output": Ref}`` of a step task's XCom, a ``Ref``, or a path of a Parquet or CSV file or folder
        (templated).
    :param expectations: ``[{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "age"}}, …]``, or the
        path of a JSON or YAML file that holds them (a whole suite exported by Great Expectations works), read when
        the DAG is parsed.
    :param on_failure: ``fail`` (default), ``skip`` or ``warn``.
    """

    def __init__(
        self,
        *,
        data: Any,
        expectations: Sequence[Mapping[str, Any]] | str,
        on_failure: Literal["fail", "skip", "warn"] = "fail",
        **kwargs: Any,
    ) -> None:
        if on_failure not in ("fail", "skip", "warn"):
            raise ValueError(f"on_failure is {on_failure!r}; it must be fail, skip or warn.")
        arguments = {"data": data, "expectations": load_expectations(expectations)}
        super().__init__(function=validate_data, arguments=arguments, **kwargs)
        self.on_failure = on_failure

    def execute(self, context: Context) -> dict[str, Any] | None:
        from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

        outputs = super().execute(context)
        if outputs and self.on_failure != "warn":
            result = self.value(outputs)
            if not result["passed"]:
                raise (AirflowSkipException if self.on_failure == "skip" else AirflowFailException)(result["summary"])
        return outputs


def load_expectations(given: Sequence[Mapping[str, Any]] | str) -> list[Mapping[str, Any]]:
    """Expectations from a list, or from a JSON or YAML file. Raises ``DataUnreadable``."""
    if not isinstance(given, str):
        return [dict(one) for one in given]
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
