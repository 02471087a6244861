"""What the operators of all nouns share: a stack, an actor, a reason."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from ..hooks.actors import task_actor
from ..hooks.stacks import StackHook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from ..provider.stack import Stack


class WindsockOperator(BaseOperator):
    """Base of the operators that act on one noun of a stack (a model, a deployment, a drift report…).

    :param stack: stack to act on (templated); default: the active stack of the installation.
    :param windsock_conn_id: connection of type ``windsock`` that names the metadata database and the stack.
    """

    template_fields: Sequence[str] = ("stack",)
    ui_color = "#d7ece8"

    def __init__(self, *, stack: str | None = None, windsock_conn_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stack = stack
        self.windsock_conn_id = windsock_conn_id

    @cached_property
    def loaded_stack(self) -> Stack:
        """The stack, resolved when the task runs."""
        return StackHook(self.stack, self.windsock_conn_id).stack()

    def actor(self, context: Context) -> str:
        """Who history and audit will name."""
        return task_actor(context)
