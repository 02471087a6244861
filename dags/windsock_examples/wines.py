"""From which of three growers is this bottle? 178 chemical analyses of Italian wines (they come with scikit-learn).

Two steps for a shop whose DAG is its own: they become tasks of it, with artifacts and lineage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from windsock import step

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.base import ClassifierMixin

TARGET = "grower"


@step
def collect_analyses() -> pd.DataFrame:
    """Bottle number, 13 measurements, and ``grower`` (0, 1 or 2)."""
    from sklearn.datasets import load_wine

    bundle = load_wine(as_frame=True)
    analyses = bundle.data.assign(**{TARGET: bundle.target})
    analyses.insert(0, "bottle", range(1, len(analyses) + 1))
    return analyses


@step
def train_grower_model(analyses: pd.DataFrame) -> ClassifierMixin:
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(n_estimators=50, random_state=0)
    return model.fit(analyses.drop(columns=["bottle", TARGET]), analyses[TARGET])
