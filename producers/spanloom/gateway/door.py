"""What happens to a request, whatever protocol it came by: it is answered when Kafka has its spans."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import Enum
from math import ceil
from threading import Thread
from time import monotonic
from typing import Any, NamedTuple

from confluent_kafka import Producer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from spanloom import ids, secrecy
from spanloom.buffer import Buffer, Ended
from spanloom.gateway import otlp
from spanloom.gateway.keys import Key, Keys
from spanloom.gateway.settings import GatewaySettings
from spanloom.otel.calls import Calls
from spanloom.otel.mapping import translate
from spanloom.sender import Sender
from spanloom.trace import Facts, Receipt

_log = logging.getLogger("spanloom")

RETRY_SECONDS = 1
"""When a request is to be sent again that Kafka did not take."""
_SIZE, _EACH = 1024, 128
"""Bytes of a translated span with nothing on it, and of one thing on it, beside texts."""


class Verdict(Enum):
    """How a request ended."""

    DONE = "done"
    BAD = "bad"
    TOO_LARGE = "too large"
    TOO_MANY = "too many"
    AWAY = "away"
    UNKNOWN_KEY = "unknown key"


class Answer(NamedTuple):
    """The verdict, and what to tell."""

    verdict: Verdict
    message: str = ""
    rejected: int = 0
    retry_after: int = 0
    """Seconds; 0: do not send it again."""


class Door:
    """Takes requests for the life of a gateway; `run` starts the sender, `close` ends it."""

    def __init__(
        self, settings: GatewaySettings, keys: Keys, connect: Callable[[dict[str, Any]], Producer] = Producer
    ) -> None:
        secrecy.use(settings.user_pepper.reveal())
        self.keys = keys
        self.settings = settings
        self._buffer = Buffer(settings.buffer_bytes)
        self.sender = Sender(self._buffer, settings, ids.epoch(), connect)
        self._calls = Calls()
        self._worker = ThreadPoolExecutor(1, "spanloom-gateway")  # one: `Calls` is for one thread
        self.facts: Facts = {"tenant": settings.tenant} if settings.tenant else {}
        """Of those who send without a key."""

    def start(self) -> None:
        """Start sending."""
        Thread(target=self.sender.run, name="spanloom-sender", daemon=True).start()

    def close(self, timeout: float) -> bool:
        """Send what waits and close the ledger; say whether all arrived."""
        self._buffer.close("shutdown")
        self._worker.shutdown(cancel_futures=True)
        return self.sender.shutdown(timeout)

    def knock(self, said: str | None) -> Key | Answer | None:
        """Return the key that a request brings (None: none is needed), or the answer to one without."""
        key = self.keys.find(said)
        if key is None and self.keys.needed:
            return Answer(Verdict.UNKNOWN_KEY, "the API key is missing or not known")
        return key

    async def take(self, body: bytes, content_type: str, packed: bool, key: Key | None) -> Answer:
        """Take one request; answer when Kafka has its spans, or will not have them in time."""
        if not self.sender.is_open:
            return _away("Kafka is not to be had")
        if not self._buffer.fits(4 * len(body)):
            return _away("too much is waiting for Kafka")
        loop = asyncio.get_running_loop()
        try:
            request = await loop.run_in_executor(self._worker, self._decoded, body, content_type, packed)
        except otlp.TooLarge:
            most = self.settings.gateway_request_bytes
            return Answer(Verdict.TOO_LARGE, f"a request may have {most} bytes, decompressed")
        except otlp.BadRequest as error:
            return Answer(Verdict.BAD, str(error))
        spans = sum(len(scoped.spans) for group in request.resource_spans for scoped in group.scope_spans)
        if wait := self.keys.admit(key, spans, monotonic()):
            return Answer(Verdict.TOO_MANY, "the key's spans_per_second are used up", retry_after=ceil(wait))
        return await self.publish(request, {"tenant": key.tenant} if key is not None else self.facts)

    async def publish(self, request: ExportTraceServiceRequest, facts: Facts) -> Answer:
        """Publish the spans of a request; answer when their fate is known."""
        loop = asyncio.get_running_loop()
        ended, rejected = await loop.run_in_executor(self._worker, self._translated, request, facts)
        lost = await self._published(ended) if ended else Counter()
        if lost is None or lost - Counter(too_large=lost["too_large"], encode=lost["encode"]):
            return _away("Kafka did not take the spans" + (f": {', '.join(sorted(lost))}" if lost else " in time"))
        if lost:
            rejected["too large, or not to be encoded"] += lost.total()
        return Answer(Verdict.DONE, "; ".join(f"{n} spans: {why}" for why, n in rejected.items()), rejected.total())

    def _decoded(self, body: bytes, content_type: str, packed: bool) -> ExportTraceServiceRequest:
        most = self.settings.gateway_request_bytes
        plain = otlp.inflated(body, most) if packed else body
        if len(plain) > most:
            raise otlp.TooLarge
        return otlp.decode(plain, content_type)

    def _translated(self, request: ExportTraceServiceRequest, facts: Facts) -> tuple[list[Ended], Counter[str]]:
        spans, rejected = otlp.read(request, facts)
        ended = []
        for about, span in spans:
            try:
                ended.append(translate(span, about, self._calls, secrecy.pseudonym))
            except Exception as error:  # one odd span must not cost the others
                rejected["cannot be translated"] += 1
                _log.error("a span cannot be translated: %s: %s", type(error).__name__, error)
        return ended, rejected

    async def _published(self, ended: list[Ended]) -> Counter[str] | None:
        """Return the spans that are not in the log, by reason; None: Kafka's word did not come in time."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Counter[str]] = loop.create_future()

        def heard(lost: Counter[str]) -> None:
            if not told.done():  # it may be too late
                told.set_result(lost)

        def tell(receipt: Receipt) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(heard, receipt.lost)

        receipt = Receipt(len(ended), tell)
        for span in ended:
            span[0].receipt = receipt
        refused = sum(not self._buffer.put(span, _size(span)) for span in ended)
        self.sender.hurry()
        if refused:
            return Counter(queue_full=refused)
        try:
            return await asyncio.wait_for(told, self.settings.gateway_wait_seconds)
        except TimeoutError:
            return None


def _away(why: str) -> Answer:
    return Answer(Verdict.AWAY, f"{why}; send the request again", retry_after=RETRY_SECONDS)


def _size(span: Ended) -> int:
    detail, events = span[8], span[9] or ()
    texts = sum(len(value) for value in detail.values() if isinstance(value, str))
    noted = sum(_EACH + len(key) + len(said) for _, _, pairs in events for key, said in pairs)
    return _SIZE + _EACH * len(detail) + texts + noted
