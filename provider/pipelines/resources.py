"""What a step asks of the machine that runs it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..errors import PipelineInvalid

_MEMORY = re.compile(r"[1-9][0-9]*(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?")


@dataclass(frozen=True)
class Resources:
    """CPUs (cores, fractions allowed), memory (Kubernetes notation, ``"16Gi"``) and GPUs (whole devices).

    A request, not a measurement: remote compute turns it into what its platform understands. In an Airflow worker
    nothing enforces it; use a pool there. Raises ``PipelineInvalid`` for a quantity that no platform would accept.
    """

    cpu: float | None = None
    memory: str | None = None
    gpu: int | None = None

    def __post_init__(self) -> None:
        for name, value, kinds in (("cpu", self.cpu, (int, float)), ("gpu", self.gpu, (int,))):
            if value is not None and (isinstance(value, bool) or not isinstance(value, kinds) or value < 0):
                raise PipelineInvalid(f"Resources({name}={value!r}): give a number that is not negative.")
        if self.memory is not None and not (isinstance(self.memory, str) and _MEMORY.fullmatch(self.memory)):
            raise PipelineInvalid(
                f"Resources(memory={self.memory!r}): this is no quantity of memory.",
                hint='Write a number with a unit, as Kubernetes does: "512Mi", "16Gi".',
            )

    def to_dict(self) -> dict[str, Any]:
        """Only what was asked for."""
        return {key: value for key, value in vars(self).items() if value is not None}
