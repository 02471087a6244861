"""What the processes of a race do. A module of its own: a spawned process must be able to import it."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from windsock.provider.errors import PromotionConflict
from windsock.provider.metadata import (
    Metadata,
    NewArtifact,
    NewModelVersion,
    StepFinish,
    StepStart,
)


def at_once(worker: Any, arguments: list[tuple[Any, ...]]) -> list[Any]:
    """Run ``worker`` in one fresh process for each tuple of arguments, all released at the same moment."""
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(len(arguments)) as pool:
        start = manager.Barrier(len(arguments))
        return pool.starmap(_released, [(worker, start, args) for args in arguments], chunksize=1)


def _released(worker: Any, start: Any, args: tuple[Any, ...]) -> Any:
    start.wait(60)
    return worker(*args)


def open_and_write(url: str) -> bool:
    metadata = Metadata.open(url)
    metadata.audit.append("me", "try", "model", "churn")
    return bool(metadata.audit.list())


def register(url: str, who: str, times: int, artifact: dict[str, Any]) -> list[int]:
    metadata = Metadata.open(url)
    new = [NewModelVersion(model="churn", artifact=artifact, source=f"{who}-{i}") for i in range(times)]
    return [metadata.models.register(one).version for one in new]


def promote(url: str, who: str, times: int) -> int:
    """Move the alias ``times`` times by compare-and-set, each from what was read; returns the conflicts met."""
    metadata = Metadata.open(url)
    conflicts = done = 0
    while done < times:
        alias = metadata.models.aliases("churn").get("production")
        seen = None if alias is None else alias.version
        wanted = 2 if seen == 1 else 1
        try:
            metadata.models.set_alias("churn", "production", wanted, expected=seen, actor=who, run=f"{who}-{done}")
            done += 1
        except PromotionConflict:
            conflicts += 1
    return conflicts


def claim(url: str, who: str, reports: list[int]) -> list[int]:
    """The reports that this process won."""
    metadata = Metadata.open(url)
    return [report for report in reports if metadata.drift.claim(report, "retrain", claimant=who)]


def claim_in_cooldown(url: str, reports: list[int]) -> int:
    metadata = Metadata.open(url)
    return sum(metadata.drift.claim(report, "retrain", cooldown=timedelta(hours=1)) for report in reports)


def finish_steps(url: str, who: str, times: int, same_contents: bool) -> list[int]:
    """Mapped steps that all write versions of one artifact; returns the version numbers got."""
    metadata = Metadata.open(url)
    versions = []
    for i in range(times):
        start = StepStart(
            dag_id="churn", run_id="r1", task_id=f"score-{who}", map_index=i, step="score", pipeline="churn"
        )
        metadata.runs.start_step(start)
        content = f"{i:064x}" if same_contents else f"{who.encode().hex()}{i:060x}"
        output = NewArtifact(
            artifact="churn.score", uri=f"file:///{content}", digest=f"blake3:{content}", size=1, type="int"
        )
        finish = StepFinish(start=start, state="success", outputs=[output], metrics={"rows": float(i)})
        versions.append(metadata.runs.finish_step(finish)["output"].version)
    return versions


def register_pipelines(url: str, times: int) -> list[int]:
    metadata = Metadata.open(url)
    return [
        metadata.pipelines.register("churn", digest=f"d{i}", spec={}, source_digest="s").number for i in range(times)
    ]


def follow_aliases(url: str, events: int, seconds: float) -> list[int]:
    """Read like a sensor: always "what is new after the last number that I saw". Returns the numbers in order."""
    metadata = Metadata.open(url)
    seen: list[int] = []
    end = time.monotonic() + seconds
    while len(seen) < events and time.monotonic() < end:
        seen += [event.id for event in metadata.models.since("churn", after_id=seen[-1] if seen else 0)]
    return seen
