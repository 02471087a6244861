"""What a command is given: settings and credentials, made once at the door.

``windsock …`` makes them from the environment; ``airflow windsock …`` from Airflow's configuration and connections.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

    from ..security.credentials import Credentials
    from ..settings import Settings
    from ..stack import Stack


@dataclass
class Session:
    """Lives as long as one command. ``given_settings`` and ``credentials`` are injected by ``airflow windsock``."""

    given_settings: Settings | None = None
    credentials: Credentials | None = None
    _settings: Settings | None = field(default=None, repr=False)

    @property
    def settings(self) -> Settings:
        if self._settings is None:
            from ..settings import Settings

            self._settings = self.given_settings or Settings.load()
        return self._settings

    @property
    def actor(self) -> str:
        """Who the history will name: ``user:<[windsock] actor>``."""
        return f"user:{self.settings.actor}"

    def stack(self, name: str | None = None) -> Stack:
        from ..stack import Stack

        return Stack.load(name, settings=self.settings, credentials=self.credentials)

    def metadata(self, stack: str | None = None) -> Any:
        return self.stack(stack).metadata


def session(ctx: typer.Context) -> Session:
    found = ctx.find_root().obj
    return found if isinstance(found, Session) else Session()
