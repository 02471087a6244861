"""A compute of somebody's own, as a stack file would name it."""

from __future__ import annotations

from typing import ClassVar

from windsock.provider.compute.base import Compute


class Elsewhere(Compute):
    operator: ClassVar[str] = "acme.operators:ElsewhereOperator"
    remote: ClassVar[bool] = True
