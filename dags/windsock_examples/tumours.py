"""Is a breast tumour malignant? Thirty measurements of a cell sample answer it.

The data are real: the 569 patients of the Wisconsin breast cancer study, which come with scikit-learn. Every function
here is an ordinary function: call it, test it, or run the whole pipeline without Airflow::

    from windsock_examples.tumours import tumours
    tumours.run()
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from windsock import pipeline, register_model, step, when

if TYPE_CHECKING:  # a step imports what it needs, so that parsing a DAG stays fast
    import pandas as pd
    from sklearn.base import ClassifierMixin

TARGET = "malignant"
PATIENT = "patient"  # who was measured; not something to predict from


# The outside world changes while our code does not, so this step must look every time.
@step(cache=False)
def load_patients(data_folder: str = "") -> pd.DataFrame:
    """The bundled patients, and every new labelled measurement in ``<data_folder>/landing/*.parquet``."""
    import pandas as pd

    new = sorted(Path(data_folder, "landing").glob("*.parquet")) if data_folder else []
    return pd.concat([bundled_patients(), *map(pd.read_parquet, new)], ignore_index=True)


@step(outputs=("train", "test"))
def split(patients: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A quarter of the *patients* is kept for testing: always the same ones, however many measurements arrive.

    A patient who is measured again therefore never moves from one side to the other, and no version of the model has
    ever seen the patients that it is compared on.
    """
    tested = patients[PATIENT].map(lambda patient: crc32(str(patient).encode()) % 4 == 0)
    return patients[~tested], patients[tested]


@step
def train(patients: pd.DataFrame, n_estimators: int = 100, min_samples_leaf: int = 10) -> ClassifierMixin:
    from sklearn.ensemble import RandomForestClassifier

    # Leaves of several patients keep the model about as sure of new patients as of those it has seen.
    model = RandomForestClassifier(n_estimators=n_estimators, min_samples_leaf=min_samples_leaf, random_state=0)
    return model.fit(measurements(patients), patients[TARGET])


@step
def evaluate(model: ClassifierMixin, patients: pd.DataFrame) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, recall_score, roc_auc_score

    truth, rows = patients[TARGET], measurements(patients)
    predicted = model.predict(rows)
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        "recall": float(recall_score(truth, predicted)),  # how many of the malignant ones were found
        "roc_auc": float(roc_auc_score(truth, model.predict_proba(rows)[:, 1])),
    }


@pipeline
def tumours(data_folder: str = "", n_estimators: int = 100, min_samples_leaf: int = 10) -> None:
    """Train, evaluate, and register a model that is good enough as the candidate."""
    train_rows, test_rows = split(load_patients(data_folder))
    model = train(train_rows, n_estimators, min_samples_leaf)
    metrics = evaluate(model, test_rows)
    with when(metrics["accuracy"] > 0.85):
        register_model(model, name="tumours", metrics=metrics, baseline=train_rows, evaluation=test_rows, target=TARGET)


def bundled_patients() -> pd.DataFrame:
    """569 real patients: an id, 30 measurements, and ``malignant`` (1 or 0)."""
    from sklearn.datasets import load_breast_cancer

    bundle = load_breast_cancer(as_frame=True)
    patients = bundle.data.copy()
    patients.insert(0, PATIENT, range(len(patients)))
    patients[TARGET] = 1 - bundle.target  # scikit-learn's target is 1 for benign
    return patients


def measurements(patients: pd.DataFrame) -> pd.DataFrame:
    """The 30 columns that a model predicts from."""
    return patients.drop(columns=[PATIENT, TARGET], errors="ignore")


def bootstrap_patients(n: int, seed: int, shift: float | None = None) -> pd.DataFrame:
    """``n`` new measurements of real patients: rows drawn with replacement, each with a little measuring noise.

    ``shift`` recalibrates the scanner: 0.25 makes every length 25 % longer, and every area larger accordingly, while
    the patients stay the same. A model that has never seen the new scale then takes benign tumours for malignant.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    patients = bundled_patients()
    rows = patients.iloc[random.integers(len(patients), size=n)].reset_index(drop=True)
    columns = list(measurements(rows).columns)
    noise = random.normal(scale=0.02, size=(n, len(columns))) * patients[columns].std().to_numpy()
    rows[columns] = (rows[columns] + noise).clip(lower=0)
    if shift:
        for column in columns:
            if "radius" in column or "perimeter" in column:
                rows[column] *= 1 + shift
            elif "area" in column:
                rows[column] *= (1 + shift) ** 2
    return rows
