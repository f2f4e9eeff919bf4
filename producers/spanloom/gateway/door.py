"""What happens to a request, whatever protocol it came by: it is answered when Kafka has its spans.

Memory is bounded whatever is sent: bodies by `Room`, what is unpacked and translated by one thread that does one
request at a time, what waits for Kafka by the buffer.
"""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import Enum
from math import ceil
from threading import Thread
from time import monotonic
from typing import Any, NamedTuple

from confluent_kafka import Producer

from spanloom import ids, secrecy
from spanloom.buffer import UNIT, Buffer, Ended
from spanloom.gateway import otlp
from spanloom.gateway.keys import Key, Keys
from spanloom.gateway.metrics import Metrics
from spanloom.gateway.room import Place, Room
from spanloom.gateway.settings import GatewaySettings
from spanloom.otel.calls import Calls
from spanloom.otel.leaving import Names
from spanloom.otel.mapping import translate
from spanloom.sender import Sender
from spanloom.trace import Facts, Receipt

_log = logging.getLogger("spanloom")

RETRY_SECONDS = 2
"""When a request that Kafka did not take is to be sent again: exporters try it six times in ten seconds."""
REQUESTS = 512
"""At once; a request waits for Kafka, and costs little more than its connection."""
ROOM_SECONDS = 5.0
"""How long a request waits until others have been read."""
READ_SECONDS = 30.0
"""In which a request must have come."""
SILENT_SECONDS = 2.0
"""After which a request of which nothing more has come makes way for those who wait for room."""
LOOK_SECONDS = 0.1
"""Between looks for those."""
_SIZE, _EACH = 1024, 128
"""Bytes of a translated span with nothing on it, and of one thing on it, beside texts."""
_RESULTS = {otlp.IDS: "ids", otlp.TIMES: "times", otlp.FORM: "form"}
"""How reasons begin, and how metrics name them."""


class Verdict(Enum):
    """How a request ended."""

    DONE = "done"
    BAD = "bad"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    AWAY = "away"
    UNKNOWN_KEY = "unknown_key"


class Answer(NamedTuple):
    """The verdict, and what to tell."""

    verdict: Verdict
    message: str = ""
    rejected: int = 0
    retry_after: int = 0
    """Seconds; 0: do not send it again."""


class Asked(NamedTuple):
    """A request of which only the head is known."""

    door: str
    """http or grpc."""
    api_key: str | None
    size: int
    """Bytes that its body has, or may have."""
    content_type: str
    packed: Callable[[bytes], bool]
    """Say of the body whether gzip packed it."""
    pieces: AsyncIterator[bytes]
    """The body, as it comes. Raises BadRequest."""
    unseen: bool = False
    """A piece takes memory before it is whole."""


class _Refused(Exception):
    """The request ends here, with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.message)
        self.answer = answer


class _Spans(NamedTuple):
    """What was read of a request."""

    ended: list[tuple[Ended, int]]
    """Each with its size in the buffer."""
    rejected: Counter[str]


class Door:
    """Takes requests for the life of a gateway; `start` starts the sender, `close` ends it."""

    def __init__(
        self, settings: GatewaySettings, keys: Keys, connect: Callable[[dict[str, Any]], Producer] = Producer
    ) -> None:
        secrecy.use(settings.user_pepper.reveal())
        secrecy.follow(os.environ.get("SPANLOOM_USER_PEPPER_FILE", ""))
        self.settings = settings
        self.metrics = Metrics()
        self._keys = keys
        self._buffer = Buffer(settings.buffer_bytes)
        self._room = Room(settings.buffer_bytes)
        self._most_bytes = settings.buffer_bytes // 2
        """Of the spans of one request: more would hardly ever find room, however often they are sent."""
        self.sender = Sender(self._buffer, settings, ids.epoch(), connect)
        self._requests = 0
        self.metrics.watch(
            is_open=lambda: self.sender.is_open,
            buffered=lambda: len(self._buffer) * UNIT,
            in_flight=lambda: self._requests,
        )
        self._calls = Calls()
        self._names = Names(settings.otel_texts)
        self._worker = ThreadPoolExecutor(1, "spanloom-gateway")  # one: for `Calls`, and for memory
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

    async def answer(self, asked: Asked) -> Answer:
        """Take one request; answer when Kafka has its spans, or will not have them in time."""
        begun, key = monotonic(), self._keys.find(asked.api_key)
        self._requests += 1
        try:
            self._admit(asked, key)
            answer = await self._publish(await self._received(asked, key), key)
        except _Refused as refused:
            answer = refused.answer
        finally:
            self._requests -= 1
        tenant = key.tenant if key is not None else ""
        self.metrics.answered(asked.door, answer.verdict.value, tenant, monotonic() - begun)
        return answer

    def _admit(self, asked: Asked, key: Key | None) -> None:
        """Refuse what need not be read."""
        if key is None and self._keys.needed:
            raise _Refused(Answer(Verdict.UNKNOWN_KEY, "the API key is missing or not known"))
        if asked.size > self.settings.gateway_request_bytes:
            raise _Refused(self._too_large())
        if self._requests > REQUESTS:
            raise _Refused(_away("too many requests come at once"))
        if not self.sender.is_open:
            raise _Refused(_away("Kafka is not to be had"))
        if not self._buffer.fits(self._most_bytes):
            raise _Refused(_away("too much is waiting for Kafka"))

    async def _received(self, asked: Asked, key: Key | None) -> _Spans:
        """Read the body and translate it; it is gone when this returns."""
        place = self._room.enter(asked.size)
        try:
            body = await self._body(asked, place)
            return await self._in_worker(body, asked.content_type, asked.packed(body), key)
        except otlp.BadRequest as error:
            raise _Refused(Answer(Verdict.BAD, str(error))) from None
        finally:
            self._room.leave(place)

    async def _body(self, asked: Asked, place: Place) -> bytes:
        """Read the body, for as much of which there is room as has come. Raises _Refused, BadRequest."""
        body, left = bytearray(), READ_SECONDS
        await self._hold(place, asked.size if asked.unseen else 0)
        while True:
            begun = monotonic()
            piece = await self._next(asked.pieces, left)
            left -= monotonic() - begun  # what it waits for room is not the sender's time
            if not piece:
                return bytes(body)
            body += piece
            if len(body) > self.settings.gateway_request_bytes:
                raise _Refused(self._too_large())
            await self._hold(place, len(body))

    async def _hold(self, place: Place, size: int) -> None:
        if not await self._room.hold(place, size, ROOM_SECONDS):
            raise _Refused(_away("too many requests come at once"))

    async def _next(self, pieces: AsyncIterator[bytes], seconds: float) -> bytes:
        """Return the next piece of a body, empty at its end. Raises _Refused where it does not come."""
        coming = asyncio.ensure_future(anext(pieces, b""))
        end = monotonic() + seconds
        wait = min(SILENT_SECONDS, seconds)
        try:
            while not (await asyncio.wait([coming], timeout=wait))[0]:
                if self._room.wanted:
                    raise _Refused(_away("the request came too slowly, and others wait"))
                wait = min(LOOK_SECONDS, end - monotonic())
                if wait <= 0:
                    raise _Refused(Answer(Verdict.BAD, f"the request did not come within {READ_SECONDS:.0f} s"))
            return coming.result()
        finally:
            coming.cancel()

    async def collected(self, body: bytes) -> Answer:
        """Take a Collector's message; answer when Kafka has its spans."""
        try:
            return await self._publish(await self._in_worker(body, otlp.PROTOBUF, False, None), None)
        except _Refused as refused:
            return refused.answer

    async def _publish(self, spans: _Spans, key: Key | None) -> Answer:
        count, rejected = len(spans.ended), spans.rejected
        results = Counter({_result(why): spans for why, spans in rejected.items()})
        if not self._buffer.fits(sum(size for _, size in spans.ended)):
            self._keys.give_back(key, count + rejected.total())
            raise _Refused(_away("too much is waiting for Kafka"))
        lost = await self._published(spans.ended) if spans.ended else Counter()
        if lost is None or lost - Counter(too_large=lost["too_large"], encode=lost["encode"]):
            answer = _away("Kafka did not take the spans" + (f": {', '.join(sorted(lost))}" if lost else " in time"))
            results["away"] = count
            self._keys.give_back(key, count + rejected.total())
        else:
            if lost:
                rejected["too large, or not to be encoded"] += lost.total()
            results += Counter(accepted=count - lost.total()) + lost
            message = "; ".join(f"{n} spans: {why}" for why, n in rejected.items())
            answer = Answer(Verdict.DONE, message, rejected.total())
        self.metrics.spans(results, key.tenant if key is not None else "")
        return answer

    async def _in_worker(self, body: bytes, content_type: str, packed: bool, key: Key | None) -> _Spans:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, self._translated, body, content_type, packed, key)

    def _translated(self, body: bytes, content_type: str, packed: bool, key: Key | None) -> _Spans:
        """Return the spans of a body. Raises _Refused."""
        request, unread = self._decoded(body, content_type, packed)
        count = sum(len(scoped.spans) for group in request.resource_spans for scoped in group.scope_spans)
        count += unread.total()
        if count * _SIZE > self._most_bytes:
            raise _Refused(self._too_many(count))
        if wait := self._keys.admit(key, count, monotonic()):
            why = "the key's spans_per_second are used up"
            raise _Refused(Answer(Verdict.TOO_MANY, why, retry_after=ceil(wait)))
        spans, rejected = otlp.read(request, {"tenant": key.tenant} if key is not None else self.facts, self._names)
        rejected += unread
        ended, total = [], 0
        for about, span in spans:
            try:
                one = translate(span, about, self._calls, secrecy.pseudonym)
            except Exception as error:  # one odd span must not cost the others
                rejected["cannot be translated"] += 1
                _log.error("a span cannot be translated: %s: %s", type(error).__name__, error)
                continue
            ended.append((one, size := _size(one)))
            total += size
            if total > self._most_bytes:
                self._keys.give_back(key, count)
                raise _Refused(self._too_many(count))
        return _Spans(ended, rejected)

    def _decoded(self, body: bytes, content_type: str, packed: bool) -> otlp.Decoded:
        most = self.settings.gateway_request_bytes
        try:
            plain = otlp.inflated(body, most) if packed else body
            if len(plain) > most:
                raise otlp.TooLarge
            return otlp.decode(plain, content_type)
        except otlp.TooLarge:
            raise _Refused(self._too_large()) from None
        except otlp.BadRequest as error:
            raise _Refused(Answer(Verdict.BAD, str(error))) from None

    async def _published(self, ended: list[tuple[Ended, int]]) -> Counter[str] | None:
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
        for span, _ in ended:
            span[0].receipt = receipt
        refused = sum(not self._buffer.put(span, size) for span, size in ended)
        ended.clear()  # they are the sender's now, and gone before Kafka's word comes
        self.sender.hurry()
        if refused:
            return Counter(queue_full=refused)
        try:
            return await asyncio.wait_for(told, self.settings.gateway_wait_seconds)
        except TimeoutError:
            return None

    def _too_large(self) -> Answer:
        most = self.settings.gateway_request_bytes
        return Answer(Verdict.TOO_LARGE, f"a request may have {most} bytes, decompressed")

    def _too_many(self, spans: int) -> Answer:
        return Answer(Verdict.TOO_LARGE, f"{spans} spans are too many for one request: send fewer at a time")


def _away(why: str) -> Answer:
    return Answer(Verdict.AWAY, f"{why}; send the request again", retry_after=RETRY_SECONDS)


def _result(why: str) -> str:
    return next((result for reason, result in _RESULTS.items() if why.startswith(reason)), "untranslatable")


def _size(span: Ended) -> int:
    detail, notes = span[8], (*(span[9] or ()), *(span[10] or ()))
    texts = sum(len(value) for value in detail.values() if isinstance(value, str))
    noted = sum(_EACH + len(key) + len(said) for *_, pairs in notes for key, said in pairs)
    return _SIZE + _EACH * (len(detail) + 2 * len(notes)) + texts + noted
