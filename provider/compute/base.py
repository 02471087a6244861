"""Compute: where a step runs (others say "step operator"; operator is Airflow's word)."""

from __future__ import annotations

from typing import Any, ClassVar

from ..component import Component


class Compute(Component):
    """A place for steps to run.

    ``operator`` is the Airflow operator, ``module:Class``, that a step there becomes; a string, so that compiling
    imports no SDK. ``remote`` says that the step runs in another process image, which must be able to import it and
    which has the artifact store only (no metadata database, no Airflow).
    """

    kind = "compute"
    operator: ClassVar[str]
    remote: ClassVar[bool] = False

    def arguments(self) -> dict[str, Any]:
        """Arguments for ``operator``, plain JSON. They become part of the DAG: no time, no random, no secret."""
        return {}
