"""What all sensors share: ask the metadata once, then defer."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.configuration import conf

from ..hooks.stacks import StackHook
from ..provider.errors import MetadataUnavailable
from .triggers import MetadataTrigger, resolve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from ..provider.metadata import Metadata


class MetadataSensor(BaseSensorOperator):
    """Waits until the metadata answers one question; the answer is the task's XCom.

    It asks once in the worker, because what is waited for is often there already and a very short deferral is a waste;
    then it defers, and the triggerer asks. Data are never read. A subclass names its ``question`` and gives its
    ``criteria``; one that must act on the answer (claim it, emit an event) overrides ``accept``.

    :param stack: stack whose metadata is asked; default: the active stack.
    :param windsock_conn_id: connection of type ``windsock``.
    :param poke_interval: time between two questions; default 30 seconds.
    :param deferrable: wait in the triggerer (default) instead of a worker slot. Retries default to one at least, since
        Airflow may lose a deferral that resumes within the second it was made.
    """

    question: ClassVar[str] = ""
    template_fields: Sequence[str] = ("stack",)
    ui_color = "#e3f2ef"

    def __init__(
        self,
        *,
        stack: str | None = None,
        windsock_conn_id: str | None = None,
        poke_interval: float | timedelta = 30,
        deferrable: bool = conf.getboolean("windsock", "deferrable", fallback=True),
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("retries", 2)
        kwargs.setdefault("retry_delay", timedelta(seconds=5))
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.stack = stack
        self.windsock_conn_id = windsock_conn_id
        self.deferrable = deferrable

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.question:
            raise TypeError(f"{cls.__name__} must name its question, as 'module:function'.")

    def criteria(self, context: Context) -> dict[str, Any]:
        """Keyword arguments of the question; JSON only, because the triggerer gets them."""
        raise NotImplementedError

    def accept(self, answer: Mapping[str, Any], context: Context) -> bool:
        """Whether the answer ends the wait. Runs in the worker; must be idempotent."""
        return True

    @cached_property
    def metadata(self) -> Metadata:
        return StackHook(self.stack, self.windsock_conn_id).stack().metadata

    def poke(self, context: Context) -> PokeReturnValue:
        try:
            answer = resolve(self.question)(self.metadata, **self.criteria(context))
        except MetadataUnavailable as error:
            self.log.warning("%s Asking again.", error.message)
            return PokeReturnValue(is_done=False)
        if answer is None or not self.accept(answer, context):
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=answer)

    def execute(self, context: Context) -> Any:
        if not self.deferrable:
            return super().execute(context)
        result = self.poke(context)
        return result.xcom_value if result.is_done else self._defer(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Resumed by the triggerer with an answer: accept it, or go on waiting."""
        self.log.info("Found: %s", event)
        return event if self.accept(event, context) else self._defer(context)

    def _defer(self, context: Context) -> None:
        criteria = self.criteria(context)
        self.log.info("Not there yet, deferring: %s", criteria)
        self.defer(
            trigger=MetadataTrigger(
                question=self.question,
                criteria=criteria,
                stack=self.stack,
                windsock_conn_id=self.windsock_conn_id,
                poll_interval=self._coerce_poke_interval(self.poke_interval).total_seconds(),
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout) if isinstance(self.timeout, (int, float)) else self.timeout,
        )
