"""Compute ``local``: the step runs in the Airflow worker, or in this process for ``pipeline.run()``."""

from __future__ import annotations

import os
import platform
from typing import ClassVar

from ..component import CheckResult
from .base import Compute


class LocalCompute(Compute):
    """The process that Airflow already has. CPU and memory limits are the worker's."""

    operator: ClassVar[str] = "windsock.operators.steps:StepOperator"

    def check(self) -> CheckResult:
        return CheckResult(ok=True, detail=f"Python {platform.python_version()}, {os.cpu_count()} CPUs, this process")
