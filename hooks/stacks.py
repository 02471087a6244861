"""The stack, inside Airflow: settings from its configuration, secrets from its connections."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from .connections import AirflowCredentials
from .settings import airflow_settings

if TYPE_CHECKING:
    from ..provider.stack import Stack


@lru_cache(maxsize=32)
def load_stack(name: str | None = None, windsock_conn_id: str | None = None) -> Stack:
    """A stack, built once a process. ``None`` is the active stack of the installation."""
    from ..provider.stack import Stack

    return Stack.load(name, settings=airflow_settings(windsock_conn_id), credentials=AirflowCredentials())


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
