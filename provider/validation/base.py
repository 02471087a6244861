"""Data validation: do these rows meet what we expect of them?"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..component import Component

Expectation = Mapping[str, Any]
"""``{"type": "expect_…", "kwargs": {"column": "age"}, "severity": "critical" | "warning"}``."""


@dataclass(frozen=True)
class Check:
    """One expectation and what was found. ``unexpected`` counts rows, of ``rows`` looked at."""

    expectation: str
    column: str | None
    passed: bool
    severity: str
    detail: str
    rows: int | None = None
    unexpected: int | None = None


@dataclass(frozen=True)
class ValidationResult:
    """All checks of one data set. ``passed`` ignores checks whose severity is below ``critical``."""

    rows: int
    checks: tuple[Check, ...] = field(default_factory=tuple)

    @property
    def passed(self) -> bool:
        return all(check.passed or check.severity != "critical" for check in self.checks)

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)

    def to_dict(self) -> dict[str, Any]:
        return {"passed": self.passed, "rows": self.rows, "checks": [asdict(check) for check in self.checks]}

    def summary(self) -> str:
        """``2 of 5 expectations failed: expect_… (age): 12 of 569 rows; …``"""
        if not self.failed:
            return f"All {len(self.checks)} expectations hold on {self.rows} rows."
        found = "; ".join(
            f"{check.expectation}{f' ({check.column})' if check.column else ''}: {check.detail}"
            for check in self.failed
        )
        return f"{len(self.failed)} of {len(self.checks)} expectations failed on {self.rows} rows: {found}"


class DataValidator(Component):
    """Checks tabular data against expectations. Pure: it changes nothing and keeps nothing between calls."""

    kind = "data_validator"

    @abstractmethod
    def validate(self, data: Any, expectations: Sequence[Expectation]) -> ValidationResult:
        """Check ``data`` (a pandas data frame, or anything with ``to_pandas()``), one :class:`Check` an expectation.

        An expectation that cannot be evaluated (no such column) has failed, and its detail says why. Raises
        ``ComponentInvalid`` for an expectation that the validator does not know.
        """
