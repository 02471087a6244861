"""The stack, inside Airflow: settings from its configuration, secrets from its connections."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from ..provider.settings import DIRECT
from .connections import AirflowCredentials
from .settings import airflow_settings, server_settings

if TYPE_CHECKING:
    from ..provider.stack import Stack


@lru_cache(maxsize=32)
def load_stack(name: str | None = None, windsock_conn_id: str | None = None) -> Stack:
    """A stack, built once a process. ``None`` is the active stack of the installation."""
    from ..provider.stack import Stack

    settings = airflow_settings(windsock_conn_id)
    if settings.metadata_transport == "rest" and _TRIGGERER in sys.modules:
        settings = replace(settings, metadata_transport=DIRECT)  # no task runs there that could prove who it is
    return Stack.load(name, settings=settings, credentials=AirflowCredentials())


_TRIGGERER = "airflow.jobs.triggerer_job_runner"


@lru_cache(maxsize=32)
def load_server_stack(name: str | None = None) -> Stack:
    """A stack for the API server and the scheduler, which have the metadata database by their side."""
    from ..provider.stack import Stack

    return Stack.load(name, settings=server_settings(), credentials=AirflowCredentials())


class StackHook(BaseHook):
    """Gives a task the stack it runs on.

    It is the root of Windsock's other hooks, each of which shows one noun of the stack's metadata. It opens no
    connection until something is asked of the stack.

    :param stack: name of the stack; default: the active stack of the installation.
    :param windsock_conn_id: connection of type ``windsock`` that names the metadata database and the stack.
    """

    conn_name_attr = "windsock_conn_id"
    default_conn_name = "windsock_default"
    conn_type = "windsock"
    hook_name = "Windsock"

    def __init__(self, stack: str | None = None, windsock_conn_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stack_name = stack or None
        self.windsock_conn_id = windsock_conn_id

    def get_conn(self) -> Stack:
        return self.stack()

    def stack(self) -> Stack:
        """The stack. Raises ``StackNotFound``, ``StackInvalid``, ``FlavorNotFound``, ``ConnectionNotFound``."""
        return load_stack(self.stack_name, self.windsock_conn_id)

    def test_connection(self) -> tuple[bool, str]:
        """What the "Test" button of the connection form runs: open the metadata database, check each component."""
        failures = [
            f"{kind} ({flavor}): {result.detail}" for kind, flavor, result, _ in self.stack().check() if not result.ok
        ]
        return (False, "; ".join(failures)) if failures else (True, f'Stack "{self.stack().name}" works')
