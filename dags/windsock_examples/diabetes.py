"""How far will the illness go in a year? 442 diabetes patients, ten measurements each (they come with scikit-learn).

A regression, with the search for its best parameter as mapped steps: one training for each strength, side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from windsock import pipeline, register_model, step, when

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

TARGET = "progression"
STRENGTHS = [0.1, 1.0, 10.0, 100.0, 1000.0]


@step
def load_patients() -> pd.DataFrame:
    """Ten columns in their own units (years, mmHg…), and ``progression``, a score between 25 and 346."""
    from sklearn.datasets import load_diabetes

    bundle = load_diabetes(as_frame=True, scaled=False)
    return bundle.data.assign(**{TARGET: bundle.target})


@step(outputs=("train", "test"))
def split(patients: pd.DataFrame, test_size: float = 0.25) -> tuple[pd.DataFrame, pd.DataFrame]:
    from sklearn.model_selection import train_test_split

    train_rows, test_rows = train_test_split(patients, test_size=test_size, random_state=0)
    return train_rows, test_rows


@step
def score(patients: pd.DataFrame, strength: float) -> float:
    """How well a model of that strength explains patients it was not trained on: mean R² of five folds."""
    from sklearn.model_selection import cross_val_score

    rows, truth = patients.drop(columns=TARGET), patients[TARGET]
    return float(cross_val_score(_model(strength), rows, truth, cv=5, scoring="r2").mean())


@step
def choose(strengths: list[float], scores: list[float]) -> float:
    return max(zip(scores, strengths, strict=True))[1]


@step
def train(patients: pd.DataFrame, strength: float) -> Pipeline:
    return _model(strength).fit(patients.drop(columns=TARGET), patients[TARGET])


@step
def evaluate(model: Pipeline, patients: pd.DataFrame) -> dict[str, float]:
    from sklearn.metrics import mean_absolute_error, r2_score

    predicted = model.predict(patients.drop(columns=TARGET))
    return {
        "r2": float(r2_score(patients[TARGET], predicted)),
        "mae": float(mean_absolute_error(patients[TARGET], predicted)),
    }


@pipeline
def diabetes(test_size: float = 0.25) -> None:
    """Search the strength, train with the best one, and register the model if it explains something."""
    train_rows, test_rows = split(load_patients(), test_size)
    scores = score.partial(patients=train_rows).expand(strength=STRENGTHS)
    model = train(train_rows, choose(STRENGTHS, scores))
    metrics = evaluate(model, test_rows)
    with when(metrics["r2"] > 0.3):
        register_model(
            model, name="diabetes", metrics=metrics, baseline=train_rows, evaluation=test_rows, target=TARGET
        )


def _model(strength: float) -> Pipeline:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), Ridge(alpha=strength))
