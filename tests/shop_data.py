"""A pipeline over a data set: a week's rows are appended, and the whole of it is summed up."""

from __future__ import annotations

from windsock import DatasetVersion, dataset, pipeline, step


@step(cache=False)
def collect(seed: int) -> DatasetVersion:
    return dataset("sales").append({"week": [seed, seed], "amount": [1.0, 2.0]})


@step
def total(sales: DatasetVersion) -> float:
    return float(sales.to_pandas(["amount"])["amount"].sum())


@pipeline
def weekly(seed: int = 1) -> None:
    total(collect(seed))
