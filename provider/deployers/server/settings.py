"""What a model server is told: its release and its limits. Plain JSON both ways, and never a secret."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ...predictions.writer import LogSettings

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Limits:
    """What one client may ask of a server.

    ``max_body_bytes`` and ``max_rows`` of one request; ``request_timeout`` seconds from its first byte to its answer;
    ``max_waiting_rows`` in the queue before the server answers 503; ``max_batch_rows`` in one call of the model.
    """

    max_body_bytes: int = 8 * 2**20
    max_rows: int = 10_000
    request_timeout: float = 30.0
    max_waiting_rows: int = 50_000
    max_batch_rows: int = 1_024
    keep_alive: float = 75.0
    drain_timeout: float = 30.0


@dataclass(frozen=True)
class Release:
    """One model version as a server serves it.

    ``store`` is how the artifact store is built in another process: ``{"class": "module:Class", "config": {…}}``,
    connection ids and no secrets. ``log`` is None when predictions are not logged.
    """

    deployment: str
    model: str
    version: int
    artifact: Mapping[str, Any]
    store: Mapping[str, Any]
    home: str
    input_schema: Mapping[str, Any] | None = None
    example: list[Any] | None = None
    allow_pickle: bool = False
    limits: Limits = field(default_factory=Limits)
    log: LogSettings | None = field(default_factory=LogSettings)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Release:
        values = dict(data)
        values["limits"] = Limits(**values["limits"])
        if values["log"] is not None:
            values["log"] = LogSettings(**{**values["log"], "omit": tuple(values["log"]["omit"])})
        return cls(**values)
