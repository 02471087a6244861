"""Data sets, as Airflow tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..hooks.assets import artifact_asset, emit, outlet
from ..provider.steps import append_dataset
from .calls import BuiltInStepOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context


class AppendDatasetOperator(BuiltInStepOperator):
    """Appends a table that an earlier task produced to a data set, and emits ``artifact_asset(dataset)``.

    It is the step ``windsock.append_dataset`` as a task of your own DAG: recorded with lineage, and a retry appends
    nothing twice. DAGs scheduled on the asset find the new version in the event's extra. XCom: ``{"output": Ref}`` of
    the version, which a Windsock step takes as an argument.

    :param dataset: name of the data set.
    :param rows: reference of a table: ``{"output": Ref}`` of a step task's XCom, or a ``Ref`` (templated).
    :param partition_by: partition columns, needed for the first rows.
    :param overwrite: replace all rows instead.
    """

    def __init__(
        self,
        *,
        dataset: str,
        rows: Any,
        partition_by: Sequence[str] = (),
        overwrite: bool = False,
        **kwargs: Any,
    ) -> None:
        arguments = {
            "rows": rows,
            "name": dataset,
            "partition_by": list(partition_by) or None,
            "overwrite": overwrite,
        }
        kwargs["outlets"] = [*(kwargs.get("outlets") or ()), outlet("artifact", dataset)]
        super().__init__(function=append_dataset, arguments=arguments, **kwargs)

    def execute(self, context: Context) -> dict[str, Any] | None:
        outputs = super().execute(context)
        if outputs:
            ref = outputs["output"]
            emit(context, artifact_asset(ref["artifact"]), ref)
        return outputs
