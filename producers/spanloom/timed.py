"""A model's streamed answer, timed: the chunks pass through as they are, and a span hears of them.

The first token, the model, the tokens as the provider reports them, why the model stopped. Without a report tokens are
estimated from the text, by its length, and the span says so.
"""

from collections.abc import AsyncIterator, Iterator
from time import perf_counter_ns
from typing import Any, Self, TypeVar, cast

from spanloom import process
from spanloom.answers import Answer
from spanloom.complaints import complain
from spanloom.otel.calls import OURS, RESPONSE_ID, Call
from spanloom.span import Span, current_span

S = TypeVar("S")


def timed(stream: S) -> S:
    """Return the chunks of a streamed answer as they come, and tell the current span of them.

    `stream` is what OpenAI's or Anthropic's SDK returned, or any iterable, async or not, of chunks in their form. All
    else that it has stays at hand. The span ends when the host ends it. Outside of a span nothing is done.
    """
    span = current_span()
    if span is None:
        return stream
    call = Listener(span)
    return cast(S, AsyncTimed(stream, call) if hasattr(stream, "__aiter__") else Timed(stream, call))


class Listener:
    """One model call, and the span that is told of it. `asked`: about how many tokens were sent, where that is known.

    With `own` the span is of the call alone and ends with it. Nothing here raises because of a chunk.
    """

    def __init__(self, span: Span, *, asked: int | None = None, own: bool = False) -> None:
        self.span = span
        self.answer = Answer()
        self._asked = asked
        self._own = own
        self._heard_at = 0

    def heard(self, chunk: object, *, whole: bool = False) -> None:
        """Take in a chunk that came now, or the `whole` answer."""
        answer = self.answer
        begun = answer.pieces > 0
        try:
            told = answer.read(chunk)
            if answer.pieces and not begun:
                told = True
                if not whole:
                    self.span.mark_first_token()
            if told:
                self._tell()
        except Exception as error:  # chunks may be anything
            complain("a model's answer could not be read", type(error).__name__)
        self._heard_at = perf_counter_ns()
        if answer.over or whole:
            self.over()

    def ended(self, by: BaseException) -> None:
        """Take in what ended the stream: its last chunk was the one before, or something went wrong."""
        self.over(None if isinstance(by, StopIteration | StopAsyncIteration) else by)

    def over(self, error: BaseException | None = None, *, left: bool = False) -> None:
        """End the span, where it is the call's own; `left`: nobody wants the rest, so it ended with what came last."""
        if not self._own or self.span.ended:
            return
        if left and self._heard_at:
            self.span.end(time=self.span.trace.anchor + self._heard_at)
        else:
            self.span.close(error)

    def _tell(self) -> None:
        span, answer = self.span, self.answer
        from spanloom.otel.dialects import USUAL_TIERS  # most services stream nothing, and need not load the tables
        from spanloom.otel.outcome import blocked_by, finish_reasons

        tier = answer.tier if str(answer.tier).lower() not in USUAL_TIERS else None
        span.set_model(answer.model, service_tier=tier)
        if answer.id and not span.says(RESPONSE_ID):
            self._announce()
        if answer.reasons:
            reasons = finish_reasons(answer.reasons)
            span.set_finish_reasons(*reasons)
            if blocked := blocked_by(answer.reasons):
                span.block(blocked)
        if answer.error:
            span.record_error(answer.error)
        self._count()

    def _announce(self) -> None:
        """Say early that this span is the call, wherever other instrumentations' spans of it end."""
        span, answer = self.span, self.answer
        span.set_attribute(RESPONSE_ID, answer.id)
        ids = (span.trace_id, span.number, span.parent)
        now = span.trace.anchor + perf_counter_ns()
        process.life().calls.announce(Call(OURS, *ids, span.start, now, answer.model or "", answer.id, True, False))

    def _count(self) -> None:
        """Tell the tokens. An estimate is made when the span is sent, of all that came by then."""
        answer = self.answer
        tokens = answer.tokens._asdict()
        estimates = {}
        if answer.pieces and tokens["output"] is None:
            estimates["output"] = cast(int, answer)
        if answer.pieces and tokens["input"] is None and self._asked:
            estimates["input"] = self._asked
        if estimates or answer.counts:
            usage = "estimated" if estimates else "measured"
            self.span.set_tokens(**(tokens | estimates), usage=usage)

    def __del__(self) -> None:
        self.over(left=True)


class Timed(Iterator[Any]):
    """A stream whose chunks a call hears; all else is the stream's own."""

    def __init__(self, stream: Any, call: Listener) -> None:
        self._stream = stream
        self._chunks = iter(stream)
        self.call = call

    def __next__(self) -> Any:
        try:
            chunk = next(self._chunks)
        except BaseException as error:
            self.call.ended(error)
            raise
        self.call.heard(chunk)
        return chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> Self:
        self._stream.__enter__()
        return self

    def __exit__(self, *raised: Any) -> Any:
        return self._stream.__exit__(*raised)


class AsyncTimed(AsyncIterator[Any]):
    """The same of an async stream."""

    def __init__(self, stream: Any, call: Listener) -> None:
        self._stream = stream
        self._chunks = aiter(stream)
        self.call = call

    async def __anext__(self) -> Any:
        try:
            chunk = await anext(self._chunks)
        except BaseException as error:
            self.call.ended(error)
            raise
        self.call.heard(chunk)
        return chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> Any:
        return await self._stream.__aexit__(*raised)
