"""A small world for tests of operators and sensors: one real model, quick to train, and helpers around it."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from windsock import pipeline, register_model, step

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from sklearn.base import ClassifierMixin

TARGET = "species"


@step(cache=False)
def load_flowers(seed: int = 0) -> pd.DataFrame:
    """Iris, in an order that depends on the seed, so that each seed is another version of the data."""
    from sklearn.datasets import load_iris

    bundle = load_iris(as_frame=True)
    return bundle.data.assign(**{TARGET: bundle.target}).sample(frac=1, random_state=seed).reset_index(drop=True)


@step
def train_flowers(flowers: pd.DataFrame, depth: int = 3) -> ClassifierMixin:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_depth=depth, random_state=0).fit(flowers.drop(columns=TARGET), flowers[TARGET])


@step
def score_flowers(model: ClassifierMixin, flowers: pd.DataFrame) -> dict[str, float]:
    return {"accuracy": float(model.score(flowers.drop(columns=TARGET), flowers[TARGET]))}


@pipeline
def flowers(seed: int = 0, depth: int = 3) -> None:
    rows = load_flowers(seed)
    model = train_flowers(rows, depth)
    register_model(
        model, name="flowers", metrics=score_flowers(model, rows), baseline=rows, evaluation=rows, target=TARGET
    )


def features(rows: int, shift: float = 0.0) -> pd.DataFrame:
    """Rows to predict from; ``shift`` moves one feature."""
    from sklearn.datasets import load_iris

    frame = load_iris(as_frame=True).data.sample(rows, replace=True, random_state=1).reset_index(drop=True)
    frame["petal length (cm)"] += shift
    return frame


def log_predictions(
    frame: pd.DataFrame, spool: Path, *, version: int = 1, at: datetime | None = None
) -> list[tuple[bytes, Any]]:
    """Write rows to the prediction log, as a server of that version would have at that time (default: now).

    Returns the request id and the prediction of each.
    """
    from windsock.hooks.stacks import load_stack
    from windsock.provider.artifacts.saving import load
    from windsock.provider.predictions.request_ids import new_request_id
    from windsock.provider.predictions.schema import InputSchema
    from windsock.provider.predictions.writer import PredictionWriter

    stack = load_stack()
    registered = stack.metadata.models.get("flowers", version=version)
    model = load(registered.artifact, stack.artifact_store)
    moment = (at or datetime.now(timezone.utc)).timestamp()
    writer = PredictionWriter(
        stack.artifact_store,
        InputSchema.from_dict(registered.input_schema),
        model="flowers",
        version=version,
        spool=spool,
        clock=lambda: moment,
    )
    ids = [new_request_id() for _ in range(len(frame))]
    answers = model.predict(frame).tolist()
    writer.append(ids, frame.to_numpy(), answers, None, [0.001] * len(frame))
    writer.close()
    return list(zip(ids, answers, strict=True))


def events(uri: str) -> list[dict[str, Any]]:
    """Extras of the asset's events, oldest first."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = select(AssetEvent).join(AssetModel, AssetModel.id == AssetEvent.asset_id).where(AssetModel.uri == uri)
        return [event.extra for event in session.scalars(found.order_by(AssetEvent.id))]
