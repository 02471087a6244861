"""The asynchronous half of the sensors: one trigger that asks the metadata one question until it has an answer.

A question is a plain function ``(metadata, **criteria) -> answer | None`` of this folder, named by its import path.
The trigger computes nothing else and never touches data. Everything it needs is in its (JSON) arguments, so a
triggerer that dies takes nothing with it: another one, or the same one restarted, asks again.
"""

from __future__ import annotations

import asyncio
import random
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from ..provider.metadata import Metadata

    Question = Callable[..., dict[str, Any] | None]

MAX_BACKOFF = 16
"""While the metadata database does not answer, the pause grows to at most this many poll intervals."""


def resolve(question: str) -> Question:
    """``"windsock.sensors.drift:find_drift"`` -> the function."""
    module, _, name = question.partition(":")
    function: Question = getattr(import_module(module), name)
    return function


class MetadataTrigger(BaseEventTrigger):
    """Fires once, when the question has an answer; the answer is the event's payload.

    Usable by a deferred sensor and by an asset's ``AssetWatcher``. While the database is away it waits, with a growing
    pause, instead of failing: a sensor's own timeout decides when that is too long.

    :param question: import path of the question, ``"module:function"``.
    :param criteria: keyword arguments of the question (JSON).
    :param stack: stack whose metadata is asked; default: the active one.
    :param windsock_conn_id: connection of type ``windsock``.
    :param poll_interval: seconds between two questions, jittered by a tenth so that a thousand sensors spread out.
    """

    def __init__(
        self,
        question: str,
        criteria: Mapping[str, Any],
        stack: str | None = None,
        windsock_conn_id: str | None = None,
        poll_interval: float = 30.0,
    ) -> None:
        super().__init__()
        self.question = question
        self.criteria = dict(criteria)
        self.stack = stack
        self.windsock_conn_id = windsock_conn_id
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "windsock.sensors.triggers.MetadataTrigger",
            {
                "question": self.question,
                "criteria": self.criteria,
                "stack": self.stack,
                "windsock_conn_id": self.windsock_conn_id,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from ..provider.errors import MetadataUnavailable

        pause = 1.0
        while True:
            try:
                answer = await asyncio.to_thread(self._ask)
                pause = 1.0
            except MetadataUnavailable as error:
                self.log.warning("%s Asking again.", error.message)
                answer, pause = None, min(pause * 2, MAX_BACKOFF)
            if answer is not None:
                yield TriggerEvent(answer)
                return
            await asyncio.sleep(self.poll_interval * pause * random.uniform(0.9, 1.1))  # noqa: S311 - jitter

    def _ask(self) -> dict[str, Any] | None:
        return resolve(self.question)(self._metadata(), **self.criteria)

    def _metadata(self) -> Metadata:
        from ..hooks.stacks import load_stack

        return load_stack(self.stack, self.windsock_conn_id).metadata
