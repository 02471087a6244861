"""Which digit is on the picture? 1,797 scans of handwritten digits (they come with scikit-learn), 8 by 8 pixels each.

A small model that later reads whole sheets of scans at night: batch prediction.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from windsock import pipeline, register_model, step, when

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

TARGET = "digit"


@step
def load_scans() -> pd.DataFrame:
    """64 columns ``pixel_0_0`` … ``pixel_7_7`` of grey levels from 0 to 16, and ``digit``."""
    from sklearn.datasets import load_digits

    bundle = load_digits(as_frame=True)
    return bundle.data.assign(**{TARGET: bundle.target})


@step(outputs=("train", "test"))
def split(scans: pd.DataFrame, test_size: float = 0.25) -> tuple[pd.DataFrame, pd.DataFrame]:
    from sklearn.model_selection import train_test_split

    train_rows, test_rows = train_test_split(scans, test_size=test_size, stratify=scans[TARGET], random_state=0)
    return train_rows, test_rows


@step
def train(scans: pd.DataFrame, strength: float = 1.0) -> Pipeline:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
    return model.fit(scans.drop(columns=TARGET), scans[TARGET])


@step
def evaluate(model: Pipeline, scans: pd.DataFrame) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, f1_score

    predicted = model.predict(scans.drop(columns=TARGET))
    return {
        "accuracy": float(accuracy_score(scans[TARGET], predicted)),
        "f1_macro": float(f1_score(scans[TARGET], predicted, average="macro")),
    }


@pipeline
def digits(test_size: float = 0.25, strength: float = 1.0) -> None:
    """Train on three quarters of the scans and register a model that reads the rest well."""
    train_rows, test_rows = split(load_scans(), test_size)
    model = train(train_rows, strength)
    metrics = evaluate(model, test_rows)
    with when(metrics["accuracy"] > 0.9):
        register_model(model, name="digits", metrics=metrics, baseline=train_rows, evaluation=test_rows, target=TARGET)


def write_sheets(folder: str, sheets: int = 4, per_sheet: int = 500, seed: int = 0) -> list[str]:
    """Write sheets of scans without their answers, as the scanner would leave them overnight; return their paths."""
    from sklearn.datasets import load_digits

    scans: pd.DataFrame = load_digits(as_frame=True).data
    Path(folder).mkdir(parents=True, exist_ok=True)
    paths = []
    for sheet in range(sheets):
        path = Path(folder, f"sheet_{sheet:03}.parquet")
        scans.sample(per_sheet, replace=True, random_state=seed + sheet).to_parquet(path, index=False)
        paths.append(str(path))
    return paths
