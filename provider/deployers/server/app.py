"""The model server's HTTP application: plain ASGI, because a framework would cost more than a small model.

====================================  =======================================================================
``GET /``                             a page for people
``GET /v2``                           the server
``GET /v2/health/live`` ``/ready``    200, or 503 until the model is loaded and has answered its own example
``GET /v2/models/{name}[/ready]``     the model, its inputs and outputs
``POST /v2/models/{name}/infer``      Open Inference Protocol v2; also ``/versions/{version}/…``
``POST /predict``                     plain JSON
``POST /feedback``                    true values, by request id
``GET /metrics``                      Prometheus
====================================  =======================================================================

Everything but the health of the server needs the bearer token, when there is one.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson

from ...predictions.request_ids import format_request_id, new_request_id, parse_request_id, row_ids
from . import feedback, page, protocols
from .batching import Batcher, Waiting, now
from .metrics import ServerMetrics
from .problems import Refused, suggestion

if TYPE_CHECKING:
    from ...predictions.labels import LabelWriter
    from ...predictions.writer import PredictionWriter
    from .predictor import Predictor
    from .protocols import Answered, Asked
    from .settings import Limits
    from .validation import Validator

logger = logging.getLogger(__name__)

Headers = Mapping[bytes, bytes]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Handler = Callable[["Exchange"], Awaitable[None]]

JSON = b"application/json"
MAX_DISCARDED = 64 * 2**20
"""How much of a too large body is read and thrown away, so that its sender gets to see the 413."""


class Exchange:
    """One request and its answer."""

    __slots__ = ("_receive", "_send", "closing", "future", "headers", "path", "task")

    def __init__(self, scope: Mapping[str, Any], receive: Receive, send: Send, *, closing: bool) -> None:
        self.path: str = scope["path"]
        self.headers: Headers = dict(scope["headers"])
        self.closing = closing
        self.future: asyncio.Future[Any] | None = None
        self.task: asyncio.Task[Any] | None = None
        self._receive = receive
        self._send = send

    async def answer(
        self,
        status: int,
        body: bytes,
        content_type: bytes = JSON,
        *,
        request_id: str | None = None,
        extra: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode()), *extra]
        if request_id is not None:
            headers.append((b"x-request-id", request_id.encode()))
        if self.closing:
            headers.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises ``Refused`` 413 when it is larger than ``limit`` bytes, ``Gone`` without a client."""
        if b"content-encoding" in self.headers:
            raise Refused(415, "Compressed bodies are not read here; send plain JSON.")
        event = await self._receive()
        body: bytes = event.get("body", b"")
        if not event.get("more_body", False) and len(body) <= limit and event["type"] == "http.request":
            return body
        chunks, size = [body], len(body)
        while event.get("more_body", False) and size <= MAX_DISCARDED:
            event = await self._receive()
            chunk = event.get("body", b"")
            size += len(chunk)
            if size <= limit:
                chunks.append(chunk)
            else:
                chunks.clear()
        if event["type"] != "http.request":
            raise Gone
        if size > limit:
            self.closing = True
            raise Refused(413, f"The body is larger than {limit} bytes. Send fewer rows in a request.")
        return b"".join(chunks)


class Gone(Exception):
    """The client closed the connection before its request was complete."""


class ModelServer:
    """The ASGI application for one model version. It is live at once and ready after :meth:`serve_model`.

    ``token``: when set, what clients must send as ``Authorization: Bearer …``. ``draining`` makes every answer the
    last one of its connection.
    """

    def __init__(self, model: str, version: int, limits: Limits, *, token: str | None = None) -> None:
        self.model, self.version, self.limits = model, version, limits
        self.draining = False
        self.problem: str | None = None
        self.metrics = ServerMetrics(model, version)
        self._token = f"Bearer {token}".encode() if token else None
        self._predictor: Predictor | None = None
        self._example: Sequence[Mapping[str, Any]] | None = None
        self._writer: PredictionWriter | None = None
        self._labels: LabelWriter | None = None
        self._open = self._open_routes()
        self._guarded = self._guarded_routes()

    def serve_model(
        self,
        predictor: Predictor,
        validator: Validator,
        *,
        writer: PredictionWriter | None,
        labels: LabelWriter | None = None,
        example: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Become ready. Called once, in the event loop, with a predictor that has answered its own example."""
        self._predictor, self._validator, self._writer, self._example = predictor, validator, writer, example
        self._labels = labels
        classes = predictor.schema.outputs.classes
        self._binary = classes is not None and len(classes) == 2
        self._batcher = Batcher(
            predictor.predict,
            max_rows=self.limits.max_batch_rows,
            max_waiting=self.limits.max_waiting_rows,
            on_answered=self._record,
        )

    @property
    def ready(self) -> bool:
        return self._predictor is not None

    def close(self) -> None:
        """Answer nothing any more, and make every logged row visible."""
        if self._predictor is not None:
            self._batcher.close()
        if self._writer is not None:
            self._writer.close()
        if self._labels is not None:
            self._labels.close()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send, closing=self.draining)
        try:
            await self._route(exchange, scope["method"])
        except Refused as refusal:
            await exchange.answer(refusal.status, refusal.body(), extra=refusal.headers)
        except Gone:
            return

    async def _route(self, exchange: Exchange, method: str) -> None:
        methods = self._open.get(exchange.path)
        if methods is None:
            if self._token is not None and not self._permitted(exchange.headers):
                raise Refused(
                    401,
                    "This model server needs a bearer token: send the header Authorization: Bearer <token>.",
                    headers=[(b"www-authenticate", b"Bearer")],
                )
            methods = self._guarded.get(exchange.path)
            if methods is None:
                raise Refused(404, self._not_here(exchange.path))
        handler = methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            allowed = ", ".join(methods)
            raise Refused(
                405, f"{exchange.path} answers {allowed}, not {method}.", headers=[(b"allow", allowed.encode())]
            )
        await handler(exchange)

    def _permitted(self, headers: Headers) -> bool:
        return hmac.compare_digest(headers.get(b"authorization", b""), self._token or b"")

    def _open_routes(self) -> dict[str, dict[str, Handler]]:
        return {
            "/v2/health/live": {"GET": self._live},
            "/v2/health/ready": {"GET": self._health},
        }

    def _guarded_routes(self) -> dict[str, dict[str, Handler]]:
        routes: dict[str, dict[str, Handler]] = {
            "/": {"GET": self._page},
            "/v2": {"GET": self._about},
            "/predict": {"POST": self._plain},
            "/feedback": {"POST": self._feedback},
            "/metrics": {"GET": self._metrics},
        }
        model = f"/v2/models/{self.model}"
        for path in (model, f"{model}/versions/{self.version}"):
            routes[path] = {"GET": self._describe}
            routes[f"{path}/ready"] = {"GET": self._model_ready}
            routes[f"{path}/infer"] = {"POST": self._infer}
        return routes

    def _not_here(self, path: str) -> str:
        parts = path.split("/")
        if path.startswith("/v2/models/") and parts[3] != self.model:
            return f'Model "{parts[3]}" is not served here: {suggestion(parts[3], [self.model])}.'
        if path.startswith(f"/v2/models/{self.model}/versions/") and parts[5] != str(self.version):
            return f'Version {parts[5]} of "{self.model}" is not served here; this is version {self.version}.'
        return f"There is nothing at {path}: {suggestion(path, list(self._guarded))}."

    async def _live(self, exchange: Exchange) -> None:
        await exchange.answer(200, b'{"live":true}')

    async def _health(self, exchange: Exchange) -> None:
        if self.ready:
            await exchange.answer(200, b'{"ready":true}')
        else:
            await exchange.answer(503, orjson.dumps({"ready": False, "error": self.problem or "The model is loading."}))

    async def _model_ready(self, exchange: Exchange) -> None:
        answer = {"name": self.model, "ready": self.ready}
        await exchange.answer(200 if self.ready else 503, orjson.dumps(answer))

    async def _about(self, exchange: Exchange) -> None:
        from .... import __version__

        await exchange.answer(200, orjson.dumps({"name": "windsock", "version": __version__, "extensions": []}))

    async def _describe(self, exchange: Exchange) -> None:
        predictor = self._loaded()
        metadata = protocols.model_metadata(self.model, self.version, predictor.platform, predictor.schema)
        await exchange.answer(200, orjson.dumps(metadata))

    async def _metrics(self, exchange: Exchange) -> None:
        body, content_type = self.metrics.render(exchange.headers.get(b"accept", b"").decode("latin-1"))
        await exchange.answer(200, body, content_type.encode())

    async def _page(self, exchange: Exchange) -> None:
        html = page.render(
            model=self.model,
            version=self.version,
            schema=self._loaded().schema,
            example=self._example,
            url="http://" + quote(exchange.headers.get(b"host", b"127.0.0.1").decode("latin-1"), safe=":[]."),
            guarded=self._token is not None,
        )
        await exchange.answer(200, html, b"text/html; charset=utf-8")

    async def _feedback(self, exchange: Exchange) -> None:
        if self._labels is None:
            raise Refused(409, "This server keeps no prediction log, so there is nothing to compare labels with.")
        pairs = feedback.read_feedback(await exchange.body(self.limits.max_body_bytes))
        try:
            kept = await asyncio.to_thread(self._labels.append, pairs)
        except OSError as error:
            raise Refused(503, f"The labels could not be kept: {error.strerror}.") from None
        await exchange.answer(202, orjson.dumps({"accepted": kept}))

    async def _plain(self, exchange: Exchange) -> None:
        await self._predict(exchange, protocols.read_plain, self._write_plain)

    async def _infer(self, exchange: Exchange) -> None:
        await self._predict(exchange, protocols.read_infer, self._write_infer)

    async def _predict(
        self,
        exchange: Exchange,
        read: Callable[[bytes, Validator], Asked],
        write: Callable[[Answered, Asked, str, Sequence[str]], bytes],
    ) -> None:
        began = now()
        given = exchange.headers.get(b"x-request-id")
        request_id = parse_request_id(given.decode("latin-1")) if given else new_request_id()
        exchange.task = asyncio.current_task()
        timer = asyncio.get_running_loop().call_later(self.limits.request_timeout, self._expire, exchange)
        asked: Asked | None = None
        try:
            self._loaded()
            asked = read(await exchange.body(self.limits.max_body_bytes), self._validator)
            if asked.client_id:
                request_id = parse_request_id(asked.client_id)
            ids = row_ids(request_id, len(asked.rows))
            exchange.future = self._batcher.submit(asked.rows, ids, began)
            answered = await exchange.future
            text = format_request_id(request_id)
            listed = [format_request_id(item) for item in ids] if len(ids) > 1 else [text]
            await exchange.answer(200, write(answered, asked, text, listed), request_id=text)
        except Refused as refusal:
            await self._refuse(exchange, refusal, request_id, began)
        except Gone:
            raise
        except asyncio.CancelledError:
            exchange.closing = True
            late = Refused(408, f"The request was not complete within {self.limits.request_timeout:g} seconds.")
            await self._refuse(exchange, late, request_id, began)
        except Exception as error:
            logger.exception("the model could not answer request %s", format_request_id(request_id))
            failed = Refused(500, f"The model could not answer: {type(error).__name__}: {_first_line(error)}")
            await self._refuse(exchange, failed, request_id, began, asked)
        finally:
            timer.cancel()

    async def _refuse(
        self, exchange: Exchange, refusal: Refused, request_id: bytes, began: float, asked: Asked | None = None
    ) -> None:
        """Answer with an error; what the model was asked, or should have been, is in the log as well."""
        text = format_request_id(request_id)
        if self._writer is not None and refusal.status in (422, 500, 504):
            rows = asked.rows if asked is not None else None
            ids = row_ids(request_id, len(rows)) if rows is not None else [request_id]
            self._writer.append_error(ids, refusal.message, now() - began, rows)
        await exchange.answer(refusal.status, refusal.body(text), request_id=text, extra=refusal.headers)

    def _expire(self, exchange: Exchange) -> None:
        if exchange.future is None:
            if exchange.task is not None:
                exchange.task.cancel()
        elif not exchange.future.done():
            seconds = self.limits.request_timeout
            exchange.future.set_exception(Refused(504, f"The model did not answer within {seconds:g} seconds."))

    def _loaded(self) -> Predictor:
        if self._predictor is None:
            raise Refused(503, self.problem or "The model is loading.", headers=[(b"retry-after", b"1")])
        return self._predictor

    def _write_plain(self, answered: Answered, asked: Asked, request_id: str, ids: Sequence[str]) -> bytes:
        answer = protocols.plain_answer(answered, self._loaded().schema, self.model, self.version)
        answer["request_id"] = request_id
        if len(ids) > 1:
            answer["request_ids"] = ids
        return orjson.dumps(answer)

    def _write_infer(self, answered: Answered, asked: Asked, request_id: str, ids: Sequence[str]) -> bytes:
        answer = protocols.infer_answer(answered, asked, self._loaded().schema, self.model, self.version)
        answer["id"] = asked.client_id or request_id
        answer["parameters"] = {"request_id": request_id}
        if len(ids) > 1:
            answer["parameters"]["request_ids"] = ",".join(ids)
        return orjson.dumps(answer)

    def _record(self, batch: Sequence[Waiting], answered: Answered) -> None:
        """Count and log what one call of the model answered."""
        end = now()
        latencies = [end - waiting.began for waiting in batch]
        rows = len(answered.predictions)
        self.metrics.answered(rows, latencies)
        if self._writer is None:
            return
        scores: Sequence[Any] | None = answered.probabilities
        if scores is not None and self._binary:
            scores = [row[1] for row in scores]
        if rows == len(batch):
            ids, each = [waiting.ids[0] for waiting in batch], latencies
        else:
            ids = [item for waiting in batch for item in waiting.ids]
            each = [seconds for waiting, seconds in zip(batch, latencies, strict=True) for _ in waiting.rows]
        logged = answered.matrix if answered.matrix is not None else [row for w in batch for row in w.rows]
        self._writer.append(ids, logged, answered.predictions, scores, each)


def _first_line(error: Exception) -> str:
    return (str(error).strip().split("\n", 1)[0] or "no message")[:300]
