"""Predicting whole files, as an Airflow task."""

from __future__ import annotations

from typing import Any

from ..provider.steps import predict_batch
from .calls import BuiltInStepOperator


class BatchPredictOperator(BuiltInStepOperator):
    """Predicts every row of the files of a folder with a registered model, and writes Parquet files.

    It is the step ``windsock.provider.steps.predict_batch`` as a task of your own DAG: no server is involved, memory
    does not grow with the files, and a retry overwrites what was half done. XCom: ``{"output": Ref}`` of
    ``{"model", "version", "rows", "files", "output"}``.

    :param model: name of the model (templated).
    :param data: path of a Parquet or CSV file, or of a folder of them (templated).
    :param output: folder for the results (templated).
    :param alias: alias whose version predicts (templated); default ``production``.
    :param version: version number, instead of ``alias`` (templated).
    :param batch_rows: rows in memory at once.
    """

    def __init__(
        self,
        *,
        model: str,
        data: str,
        output: str,
        alias: str = "production",
        version: int | str | None = None,
        batch_rows: int = 65_536,
        **kwargs: Any,
    ) -> None:
        arguments = {
            "model": model,
            "data": data,
            "output": output,
            "alias": alias,
            "version": version,
            "batch_rows": batch_rows,
        }
        super().__init__(function=predict_batch, arguments=arguments, **kwargs)
