"""Pipelines that the operator tests run: small, real steps over plain JSON."""

from __future__ import annotations

from typing import Literal

from windsock import on_exit, pipeline, step, when


@step
def load(snapshot: str = "latest", rows: int = 4) -> list[int]:
    return [len(snapshot) + i for i in range(rows)]


@step(outputs=("low", "high"))
def halve(numbers: list[int]) -> tuple[list[int], list[int]]:
    middle = len(numbers) // 2
    return numbers[:middle], numbers[middle:]


@step
def measure(numbers: list[int]) -> dict[str, float]:
    return {"mean": sum(numbers) / len(numbers), "count": len(numbers)}


@step
def square(x: int) -> int:
    return x * x


@step
def total(numbers: list[int]) -> int:
    return sum(numbers)


@step
def accept(metrics: dict[str, float]) -> str:
    return f"accepted {metrics['mean']}"


@step
def refuse(metrics: dict[str, float]) -> str:
    return f"refused {metrics['mean']}"


@step
def report(verdict: str = "nobody said anything") -> str:
    return verdict


@step
def strict_report(verdict: str) -> str:
    return verdict


@step
def first(verdicts: list[str]) -> str:
    return verdicts[0]


@step
def fail(numbers: list[int]) -> list[int]:
    raise ValueError(f"{len(numbers)} numbers are too many")


@step(cache=False)
def say_goodbye(metrics: dict[str, float] | None = None) -> str:
    return "with metrics" if metrics else "without metrics"


@pipeline
def plain(snapshot: str = "latest", rows: int = 4) -> None:
    """Load and measure."""
    low, high = halve(load(snapshot, rows))
    measure.named("measure_low")(low)
    measure.named("measure_high")(high)


@pipeline
def mapped(rows: int = 3) -> None:
    numbers = load("abc", rows)
    total(square.expand(x=numbers))


@pipeline
def mapped_constants() -> None:
    total(square.expand(x=[1, 2, 3]))


@pipeline
def mapped_twice() -> None:
    total(square.named("again").expand(x=square.expand(x=[1, 2])))


@pipeline
def either(limit: float = 5.0) -> None:
    metrics = measure(load("abc"))
    with when(metrics["mean"] > limit, name="good"):
        yes = accept(metrics)
        inside = report.named("inside")(yes)
    with when(~(metrics["mean"] > limit), name="bad"):
        no = refuse(metrics)
    report.named("joined")(yes)
    strict_report(yes)
    first([yes, no])
    measure.named("outside")(load.named("other")("x"))
    report.named("after_inside")(inside)


@pipeline
def nested(outer: float = 0.0, inner: float = 0.0, mode: Literal["full", "quick"] = "full") -> None:
    metrics = measure(load("abc"))
    with when(metrics["mean"] > outer, name="outer"):
        accept(metrics)
        with when((metrics["count"] > inner) & (metrics["count"] < 100), name="inner"):
            refuse(metrics)


@pipeline
def failing() -> None:
    numbers = fail(load("abc"))
    metrics = measure(numbers)
    on_exit(say_goodbye(metrics))


@pipeline
def ending() -> None:
    on_exit(say_goodbye(measure(load("abc"))))


@pipeline
def features(snapshot: str = "abc") -> None:
    return measure(load(snapshot))  # type: ignore[return-value]


@pipeline
def outer_pipeline(snapshot: str = "abcdef") -> None:
    metrics = features(snapshot)
    features("x")
    accept(metrics)
