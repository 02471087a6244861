"""Settings: where Windsock keeps its things and which stack is active.

One frozen value, made at a door (CLI, operator, server) and handed down; nothing reads the environment in the
middle of the code. Each setting is looked up as ``WINDSOCK_<NAME>``, then ``AIRFLOW__WINDSOCK__<NAME>``, then in
the mapping given (in Airflow processes: the ``[windsock]`` section), then its default.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import SettingInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

_TRUE = {"1", "true", "t", "yes", "y", "on"}
_FALSE = {"0", "false", "f", "no", "n", "off"}


@dataclass(frozen=True)
class Settings:
    """The ``[windsock]`` section, resolved.

    ``home`` holds everything that has no better place: the default database, artifacts, the artifact cache,
    servers' state. ``stacks_folders`` are searched in order for ``<name>.yaml``.
    """

    home: Path
    sql_alchemy_conn: str = field(repr=False)  # it may hold a password
    stack: str
    stacks_folders: tuple[Path, ...]
    actor: str
    step_cache: bool
    metadata_transport: str = "sql"
    """``sql``: this process opens the metadata database. ``rest``: it asks the API server at ``api_url``."""
    api_url: str | None = None
    metadata_patience: float = 90.0
    """Seconds that a step waits for a metadata database that does not answer."""
    artifact_cache_size: int = 10 * 10**9
    """Bytes that each remote artifact store may keep on this machine's disk; 0 for none."""
    metrics_pushgateway: str | None = None
    """Where drift checks push what they found, for networks in which nothing may be scraped."""
    require_signatures: bool = False
    """Whether only model versions are deployed that a trusted key has signed."""
    signing_connection: str | None = None
    """Connection whose password is the key that signs each model version that is registered."""
    trusted_keys: str | None = None
    """Public keys whose signatures count, or connections that hold some."""
    spool: bool = True
    """Whether it then keeps its record in the artifact store and goes on; otherwise it fails."""

    @property
    def database_is_named(self) -> bool:
        """Whether somebody said where the metadata database is."""
        return self.sql_alchemy_conn != _default_database(self.home)

    @classmethod
    def load(
        cls, options: Mapping[str, str | None] | None = None, environ: Mapping[str, str] | None = None
    ) -> Settings:
        """Resolve all settings. Raises ``SettingInvalid``."""
        env = os.environ if environ is None else environ
        given = options or {}

        def option(name: str) -> str | None:
            for key in (f"WINDSOCK_{name.upper()}", f"AIRFLOW__WINDSOCK__{name.upper()}"):
                if env.get(key):
                    return env[key]
            return given.get(name) or None

        home = Path(option("home") or _default_home(env)).expanduser().absolute()
        folders = option("stacks_folder")
        return cls(
            home=home,
            sql_alchemy_conn=option("sql_alchemy_conn") or _default_database(home),
            stack=option("stack") or _chosen_stack(home) or "local",
            stacks_folders=(
                tuple(Path(p).expanduser().absolute() for p in folders.split(os.pathsep))
                if folders
                else (Path("stacks").absolute(), home / "stacks")
            ),
            actor=option("actor") or env.get("USER") or env.get("LOGNAME") or "unknown",
            step_cache=_boolean("step_cache", option("step_cache"), default=True),
            artifact_cache_size=_size("artifact_cache_size", option("artifact_cache_size"), default=10 * 10**9),
            metadata_transport=_transport(option("metadata_transport")),
            api_url=option("api_url"),
            metadata_patience=_seconds("metadata_patience", option("metadata_patience"), default=90.0),
            metrics_pushgateway=option("metrics_pushgateway"),
            require_signatures=_boolean("require_signatures", option("require_signatures"), default=False),
            signing_connection=option("signing_connection"),
            trusted_keys=option("trusted_keys"),
            spool=_boolean("spool", option("spool"), default=True),
        )


def _default_home(env: Mapping[str, str]) -> Path:
    airflow_home = env.get("AIRFLOW_HOME")
    return Path(airflow_home) / "windsock" if airflow_home else Path.home() / ".windsock"


def _default_database(home: Path) -> str:
    return f"sqlite:///{home / 'windsock.db'}"


def _chosen_stack(home: Path) -> str | None:
    """What ``windsock stack use`` wrote last."""
    try:
        return (home / "active_stack").read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


TRANSPORTS = ("sql", "rest")
DIRECT = "direct"
"""The transport of a process that is what the others ask: its database, whatever the stack's file says."""


def _transport(text: str | None) -> str:
    name = (text or "sql").lower()
    if name not in TRANSPORTS:
        raise SettingInvalid(
            f"[windsock] metadata_transport is {text!r}, which is neither sql nor rest.",
            hint="Set WINDSOCK_METADATA_TRANSPORT=rest where there is no access to the database, else leave it out.",
        )
    return name


def _size(name: str, text: str | None, *, default: int) -> int:
    """Bytes, as a number or with a unit: ``500 MB``, ``2GiB``."""
    if text is None:
        return default
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([kmgt]?)(i?)b?", text.strip().lower())
    if found is None or (found[3] and not found[2]):
        raise SettingInvalid(
            f"[windsock] {name} is {text!r}, which is no size.",
            hint=f"Set WINDSOCK_{name.upper()}=10GB, for example, or =0.",
        )
    return int(float(found[1]) * (1024 if found[3] else 1000) ** " kmgt".index(found[2] or " "))


def _boolean(name: str, text: str | None, *, default: bool) -> bool:
    if text is None:
        return default
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise SettingInvalid(
        f"[windsock] {name} is {text!r}, which is neither true nor false.",
        hint=f"Set WINDSOCK_{name.upper()}=true or =false.",
    )


def _seconds(name: str, text: str | None, *, default: float) -> float:
    if text is None:
        return default
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise SettingInvalid(
            f"[windsock] {name} is {text!r}, which is no number of seconds.",
            hint=f"Set WINDSOCK_{name.upper()}={default:g}, for example.",
        )
    return found
