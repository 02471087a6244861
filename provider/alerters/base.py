"""Alerts: telling people, through whatever the stack says."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict, dataclass, field
from typing import Any

from ..component import Component

_FIELDS = ("title", "text", "severity", "status", "key")


@dataclass(frozen=True)
class Alert:
    """One message. ``key`` names what it is about: receivers that can, show one alert for a key and not a hundred.

    ``severity`` is ``info``, ``warning`` or ``critical``; ``status`` is ``firing``, or ``resolved`` when what an
    earlier alert of the same key told is over; ``links`` are name -> URL; ``facts`` are JSON.
    """

    title: str
    text: str = ""
    severity: str = "warning"
    key: str = ""
    links: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    status: str = "firing"

    def filled(self, template: Any) -> Any:
        """A template (text, or JSON with texts) with ``{title}``, ``{text}``, ``{severity}``, ``{status}``, ``{key}``
        and ``{links}`` filled in."""
        if isinstance(template, dict):
            return {key: self.filled(item) for key, item in template.items()}
        if isinstance(template, list):
            return [self.filled(item) for item in template]
        if not isinstance(template, str):
            return template
        links = "\n".join(f"{name}: {url}" for name, url in self.links.items())
        for name, value in (*((n, getattr(self, n)) for n in _FIELDS), ("links", links)):
            template = template.replace(f"{{{name}}}", value)
        return template

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Alerter(Component):
    """Sends alerts. Thread-safe; a message is sent once, or an error is raised and the caller may try again."""

    kind = "alerter"

    @abstractmethod
    def send(self, alert: Alert) -> None:
        """Send one alert. Raises ``AlertNotSent`` when the receiver refuses it or does not answer."""
