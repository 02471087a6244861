"""Alerts: telling people, through whatever the stack says."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict, dataclass, field
from typing import Any

from ..component import Component


@dataclass(frozen=True)
class Alert:
    """One message. ``key`` names what it is about: receivers that can, show one alert for a key and not a hundred.

    ``severity`` is ``info``, ``warning`` or ``critical``; ``links`` are name -> URL; ``facts`` are JSON.
    """

    title: str
    text: str = ""
    severity: str = "warning"
    key: str = ""
    links: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Alerter(Component):
    """Sends alerts. Thread-safe; a message is sent once, or an error is raised and the caller may try again."""

    kind = "alerter"

    @abstractmethod
    def send(self, alert: Alert) -> None:
        """Send one alert. Raises ``AlertNotSent`` when the receiver refuses it or does not answer."""
