"""Retention policies: for how long what a run made is kept. ``retention:`` of a stack file.

::

    retention:
      grace_hours: 24                # what nobody needs is removed so long after a prune has noticed
      default: {runs: 50}            # every pipeline that is not named; without it they keep everything
      pipelines:
        churn:
          runs: 10                   # the last ten runs, and
          days: 30                   # whatever began in the last thirty days
          states: {failed: {days: 3}}    # failed runs: a rule of their own

A rule without ``runs`` and ``days`` keeps everything. What an alias, an active model version, a deployment or a
baseline needs is kept whatever a policy says.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ..component import ComponentConfig, validated

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from ..metadata.reach import RunFacts

ABANDONED = timedelta(days=30)
"""A run that says that it is running, and began so long ago, is a run that was killed."""


class Rule(ComponentConfig):
    """Keep the last ``runs`` runs, and those that began in the last ``days`` days; without either, all of them."""

    runs: int | None = Field(default=None, ge=0)
    days: float | None = Field(default=None, ge=0)

    @property
    def keeps_all(self) -> bool:
        return self.runs is None and self.days is None


class PipelinePolicy(Rule):
    """A rule for the runs of one pipeline, and others for its runs in some states."""

    states: dict[str, Rule] = Field(default_factory=dict)


class RetentionPolicy(ComponentConfig):
    """``retention`` of a stack. ``orphans``: also remove what the store holds and no metadata knows."""

    grace_hours: float = Field(default=24, ge=1 / 60)
    orphans: bool = True
    default: PipelinePolicy = PipelinePolicy()
    pipelines: dict[str, PipelinePolicy] = Field(default_factory=dict)

    @classmethod
    def of(cls, options: Any) -> RetentionPolicy:
        """Raises ``ComponentInvalid``."""
        return validated(cls, {} if options is None else options, "retention", "retention")

    @property
    def grace(self) -> timedelta:
        return timedelta(hours=self.grace_hours)

    def of_pipeline(self, name: str) -> PipelinePolicy:
        return self.pipelines.get(name, self.default)


def kept_runs(runs: Iterable[RunFacts], policy: RetentionPolicy, now: datetime) -> tuple[list[str], int]:
    """The ids of the runs that the policy keeps, and how many it does not. Running ones are always kept."""
    kept: list[str] = []
    expired = 0
    groups: dict[tuple[str, str | None], list[RunFacts]] = defaultdict(list)
    for run in runs:
        name = run.pipeline or run.dag_id
        if run.state == "running" and now - run.started_at < ABANDONED:
            kept.append(run.id)
        else:
            groups[name, run.state if run.state in policy.of_pipeline(name).states else None].append(run)
    for (name, state), group in groups.items():
        rules = policy.of_pipeline(name)
        rule = rules.states[state] if state is not None else rules
        group.sort(key=lambda run: (run.started_at, run.id), reverse=True)
        for place, run in enumerate(group):
            if _keeps(rule, place, now - run.started_at):
                kept.append(run.id)
            else:
                expired += 1
    return kept, expired


def _keeps(rule: Rule, place: int, age: timedelta) -> bool:
    if rule.keeps_all or (rule.runs is not None and place < rule.runs):
        return True
    return rule.days is not None and age < timedelta(days=rule.days)
