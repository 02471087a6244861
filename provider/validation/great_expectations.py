"""Data validation with Great Expectations, in memory: no project folder, no store, no telemetry."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..component import CheckResult
from ..errors import ComponentInvalid, MissingExtra, did_you_mean
from .base import Check, DataValidator, Expectation, ValidationResult


class GreatExpectationsValidator(DataValidator):
    """Flavor ``great_expectations``: every expectation that Great Expectations 1.x offers for pandas data.

    Each call uses an ephemeral context of its own, so calls neither see each other nor write files.
    """

    def validate(self, data: Any, expectations: Sequence[Expectation]) -> ValidationResult:
        frame = data.to_pandas() if hasattr(data, "to_pandas") else data
        with _quiet():
            gx = _import()
            context = gx.get_context(mode="ephemeral")
            context.variables.progress_bars = {"globally": False}
            suite = gx.ExpectationSuite(name="windsock", expectations=[_expectation(gx, one) for one in expectations])
            batch = (
                context.data_sources.add_pandas("windsock")
                .add_dataframe_asset("data")
                .add_batch_definition_whole_dataframe("all")
                .get_batch({"dataframe": frame})
            )
            found = batch.validate(suite, result_format="BASIC")
        return ValidationResult(rows=len(frame), checks=tuple(_check(result) for result in found.results))

    def check(self) -> CheckResult:
        try:
            gx = _import()
        except MissingExtra as error:
            return CheckResult(ok=False, detail=error.message, hint=error.hint)
        return CheckResult(ok=True, detail=f"Great Expectations {gx.__version__}")


def _import() -> Any:
    # Before the import: Great Expectations reads it once, and would otherwise report its use over the network.
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    try:
        import great_expectations
    except ImportError:
        raise MissingExtra(
            'data_validator "great_expectations" needs great_expectations, which is not installed.',
            hint="Run: pip install 'airflow-provider-windsock[great-expectations]'",
        ) from None
    return great_expectations


def _expectation(gx: Any, given: Expectation) -> Any:
    kind = str(given.get("type", ""))
    name = "".join(part.capitalize() for part in kind.split("_"))
    known = {one for one in dir(gx.expectations) if one.startswith("Expect")}
    if name not in known:
        raise ComponentInvalid(
            f'"{kind}" is no expectation of Great Expectations {gx.__version__}.',
            hint=did_you_mean(name, known).split(" Known:")[0] if name else "An expectation has a type and kwargs.",
        )
    options = dict(given.get("kwargs") or {})
    if severity := given.get("severity"):
        options["severity"] = severity
    try:
        return getattr(gx.expectations, name)(**options)
    except (TypeError, ValueError) as error:
        problem = str(error).splitlines()
        raise ComponentInvalid(f"{kind} is used wrongly: {' '.join(problem[1:3]) or problem[0]}") from None


def _check(result: Any) -> Check:
    config = result.expectation_config
    details: Mapping[str, Any] = result.result or {}
    rows = details.get("element_count")
    unexpected = details.get("unexpected_count")
    return Check(
        expectation=config.type,
        column=config.kwargs.get("column"),
        passed=bool(result.success),
        severity=str(getattr(config.severity, "value", config.severity) or "critical"),
        detail=_detail(result, details, rows, unexpected),
        rows=rows,
        unexpected=unexpected,
    )


def _detail(result: Any, details: Mapping[str, Any], rows: int | None, unexpected: int | None) -> str:
    for failure in _failures(result.exception_info):
        return f"could not be evaluated: {failure.get('exception_message', 'unknown error')}"
    if unexpected is not None and rows:
        sample = ", ".join(map(repr, (details.get("partial_unexpected_list") or [])[:3]))
        return f"{unexpected} of {rows} rows" + (f", for example {sample}" if sample else "")
    if "observed_value" in details:
        return f"observed {details['observed_value']!r}"
    return "holds" if result.success else "does not hold"


def _failures(info: Any) -> Iterator[Mapping[str, Any]]:
    """Great Expectations gives one flat dictionary, or one of those per metric."""
    candidates = [info] if info and "raised_exception" in info else list((info or {}).values())
    yield from (one for one in candidates if isinstance(one, Mapping) and one.get("raised_exception"))


@contextmanager
def _quiet() -> Iterator[None]:
    """Great Expectations logs a failed metric as an error with a traceback; the check's detail says it already."""
    logger = logging.getLogger("great_expectations")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
