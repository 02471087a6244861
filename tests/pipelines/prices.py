"""A small pipeline with a real model: the price of a flat from its size and floor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from windsock import pipeline, register_model, step

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.linear_model import LinearRegression


@step
def load_flats(rows: int = 200) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(7)
    size = random.uniform(20, 150, rows)
    floor = random.integers(0, 9, rows)
    return pd.DataFrame(
        {"size": size, "floor": floor, "price": 4000 * size + 5000 * floor + random.normal(0, 1000, rows)}
    )


@step
def train(flats: pd.DataFrame) -> LinearRegression:
    from sklearn.linear_model import LinearRegression

    return LinearRegression().fit(flats[["size", "floor"]], flats["price"])


@step
def evaluate(model: LinearRegression, flats: pd.DataFrame, fail: bool = False) -> dict[str, float]:
    if fail:
        raise ValueError("the auditor said no")
    return {"r2": float(model.score(flats[["size", "floor"]], flats["price"]))}


@pipeline
def prices(rows: int = 200, fail: bool = False) -> None:
    flats = load_flats(rows)
    model = train(flats)
    metrics = evaluate(model, flats, fail)
    register_model(model, name="prices", metrics=metrics, baseline=flats, evaluation=flats, target="price")
