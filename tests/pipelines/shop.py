"""Steps and pipelines that the pipeline tests wire; their heavy types are imported for type checkers only."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Literal, NamedTuple

from windsock import Component, ComponentConfig, Resources, on_exit, pipeline, step, when

if TYPE_CHECKING:
    from datetime import date

    import numpy as np
    import pandas as pd
    from sklearn.base import ClassifierMixin
    from windsock import Artifact


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Halves(NamedTuple):
    low: pd.DataFrame
    high: pd.DataFrame


@step
def load(snapshot: str) -> pd.DataFrame: ...


@step(outputs=("train", "test"))
def split(customers: pd.DataFrame, test_size: float = 0.2) -> tuple[pd.DataFrame, pd.DataFrame]: ...


@step(resources=Resources(cpu=4, memory="16Gi", gpu=1), retries=2, compute="kubernetes", timeout=3600)
def train(customers: pd.DataFrame, learning_rate: float = 0.1) -> ClassifierMixin: ...


@step
def evaluate(model: ClassifierMixin, customers: pd.DataFrame) -> dict[str, float]: ...


@step
def register(model: Artifact[ClassifierMixin], metrics: dict[str, float], *, note: str | None = None) -> None: ...


@step
def notify(message: str, metrics: dict[str, float] | None = None) -> None: ...


@step
def halves(customers: pd.DataFrame) -> Halves: ...


@step
def pair(customers: pd.DataFrame) -> tuple[int, str]: ...


@step
def vectors(customers: pd.DataFrame) -> np.ndarray: ...


@step
def best(models: list[ClassifierMixin]) -> ClassifierMixin: ...


@step
def names(customers: pd.DataFrame) -> list[str]: ...


@step
def by_name(name: str) -> pd.DataFrame: ...


@step
def free(**options: object) -> int: ...


def paint(color: str = "red") -> str:
    return color


class CleanerConfig(ComponentConfig):
    drop_missing: bool = True
    columns: tuple[str, ...] = ()


class Cleaner(Component):
    """A component as a step: configured in YAML, called with inputs."""

    Config = CleanerConfig

    def run(self, customers: pd.DataFrame) -> pd.DataFrame:
        return customers


clean = step(Cleaner, config="cleaner.yaml")


@pipeline
def churn(snapshot: str = "latest", learning_rate: float = 0.1) -> None:
    """Who will leave?"""
    train_rows, test_rows = split(load(snapshot))
    model = train(train_rows, learning_rate)
    metrics = evaluate(model, test_rows)
    with when(metrics["accuracy"] > 0.85):
        register(model, metrics)
    on_exit(notify("done", metrics))


@pipeline
def everything(
    snapshot: str,
    day: date | None = None,
    mode: Literal["full", "quick"] = "full",
    color: Color = Color.RED,
    rates: list[float] = [0.1, 0.2],  # noqa: B006
) -> None:
    """Every form that a spec can have."""
    rows = clean(load.named("load-it")(snapshot))
    low, high = split(customers=rows, test_size=0.3)
    models = train.with_options(retries=None, pool="gpus").partial(customers=low).expand(learning_rate=rates)
    chosen = best(models)
    with when((evaluate(chosen, high)["accuracy"] >= 0.5) | ~(mode == "full"), name="good"):  # type: ignore[operator]
        register(chosen, {"a": 1.0}, note="$${{ no reference")
        with when(color != "red", name="colored"):
            by_name.expand(name=names(high))
    last = best([chosen, train.named("again")(low)])
    free(a=1, b=last, c=[{"d": None}])
    on_exit(notify("${{ still text"))
    load.with_options(compute=None)("x") >> last


@pipeline
def features(snapshot: str = "latest") -> object:
    return split(load(snapshot))


@pipeline
def outer() -> None:
    low, _ = features("one")  # type: ignore[misc]
    train(low)
    features()
