"""One span as the tables must show it: what its message says of it, and what follows from it alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from spanloom_schemas.prices.book import Book

from tests.oracle.cost import cost_of

PANE_MS = 10_000
LATENESS_MS = 3_000
FUTURE_MS = 5_000

SHORT = 256
"""Characters of an id, a name or a label."""
LONGEST_NS = 10**15
MOST_TOKENS = 10**9

TOKENS = ("input", "cache_read", "cache_write", "output", "reasoning")
SEGMENTS = ("system", "instructions", "few_shot", "context", "user")

Batch = dict[str, Any]


class Logged(NamedTuple):
    """A message of llm.spans: where and when the broker put it, and the decoded SpanBatch (None: unreadable)."""

    offset: int
    log_time_ms: int
    batch: Batch | None


class Key(NamedTuple):
    """What a pane is about, in the order of the table's columns; an absent text is ''."""

    environment: str
    service: str
    kind: str
    request: bool
    model: str
    prompt_id: str
    prompt_version: str
    tenant: str
    experiment: str
    run_id: str


@dataclass(slots=True)
class Span:
    """A copy of a span at its place in the log. Times are epoch ns, but log times, which are ms."""

    topic_id: str
    partition: int
    offset: int
    position: int
    log_time: int
    log_clock: int
    """the latest log time in the partition up to and with this message"""
    timeliness: str
    """on_time, late or future_dated; only the first is in a pane"""
    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: str
    start: int
    end: int
    duration: int
    key: Key
    error: bool
    blocked: bool
    block_reason: str | None
    tokens: dict[str, int | None]
    """by bucket and by segment"""
    cached: bool
    estimated: bool
    ttft: int | None
    tpot: int | None
    cost: int | None
    """nano-dollars; None: unknown"""
    cost_status: str
    documents: int
    cited: int
    scores: list[tuple[str, float]] = field(default_factory=list)

    @property
    def retrieved(self) -> int:
        """The documents of a retrieval; other kinds name them again."""
        return self.documents if self.kind == "retrieval" else 0

    @property
    def counts(self) -> dict[str, int]:
        """What it adds to the sums of its pane and of its trace, but for latencies."""
        return {
            "spans": 1,
            "errors": self.error,
            "blocks": self.blocked,
            "cost": self.cost or 0,
            "unpriced": self.cost_status == "unpriced",
            "estimated": self.estimated,
            "cache_hits": self.cached,
            "documents": self.retrieved,
            "cited": self.cited,
            **{f"{name}_tokens": count or 0 for name, count in self.tokens.items()},
        }

    @property
    def pane(self) -> int:
        """The start (epoch ms) of its pane."""
        return pane_start(self.end)

    @property
    def identity(self) -> tuple[str, str, str, int]:
        """What two copies of a span share: trace, id, kind, and the minute (epoch s) of its end."""
        return self.trace_id, self.span_id, self.kind, self.end // 60_000_000_000 * 60

    @property
    def place(self) -> tuple[int, int]:
        """Where in its partition it is."""
        return self.offset, self.position


def pane_start(end_ns: int) -> int:
    """The start (epoch ms) of the pane of a span that ended then."""
    return end_ns // (PANE_MS * 1_000_000) * PANE_MS


def read(topic_id: str, partition: int, messages: list[Logged], book: Book) -> Iterator[Span]:
    """Every copy of every span in a partition's log, in its order."""
    clock = 0
    for message in messages:
        clock = max(clock, message.log_time_ms)
        batch = message.batch or {"spans": []}
        for position, span in enumerate(batch["spans"]):
            yield _span((topic_id, partition, message.offset, position, message.log_time_ms, clock), batch, span, book)


def timeliness(end_ns: int, log_time: int, clock: int) -> str:
    """The verdict of the log on a span that ended then."""
    if end_ns > (log_time + FUTURE_MS) * 1_000_000:
        return "future_dated"
    return "late" if clock >= pane_start(end_ns) + PANE_MS + LATENESS_MS else "on_time"


def _short(text: str | None) -> str | None:
    return text if text is None else text[:SHORT]


def _within(count: int | None, most: int) -> int | None:
    """What no counter says is unknown."""
    return count if count is not None and 0 <= count <= most else None


def _span(place: tuple[str, int, int, int, int, int], batch: Batch, said: Mapping[str, Any], book: Book) -> Span:
    context, prompt, llm = (said[record] or {} for record in ("context", "prompt", "llm"))
    documents = (said["retrieval"] or {"documents": []})["documents"]
    kind, status, cached = said["kind"], said["status"], bool(llm.get("cached"))
    duration = min(max(0, said["end"] - said["start"]), LONGEST_NS)
    ttft = _within(llm.get("time_to_first_token"), LONGEST_NS)
    tokens = {name: llm.get(f"{name}_tokens") for name in TOKENS}
    models = [llm.get("response_model"), llm.get("request_model")]
    cost, cost_status = cost_of(
        book, kind, status == "error" and llm.get("time_to_first_token") is None, cached, tokens,
        llm.get("provider"), models, llm.get("service_tier"), said["end"],
    )  # fmt: skip
    tokens |= {name: prompt.get(f"{name}_tokens") for name in SEGMENTS}
    tokens = {name: _within(count, MOST_TOKENS) for name, count in tokens.items()}
    written = (tokens["output"] or 0) + (tokens["reasoning"] or 0)
    timed = kind == "llm" and ttft is not None and written > 1
    entry = said["parent_id"] is None or said["parent_remote"]
    return Span(
        *place,
        timeliness=timeliness(said["end"], place[4], place[5]),
        trace_id=said["trace_id"][:SHORT],
        span_id=said["span_id"][:SHORT],
        parent_id=_short(said["parent_id"]),
        name=said["name"][:SHORT],
        kind=kind,
        start=said["start"],
        end=said["end"],
        duration=duration,
        key=Key(
            batch["environment"][:SHORT],
            batch["service"][:SHORT],
            kind,
            entry and kind != "feedback",
            _short(next((model for model in models if model is not None), None)) or "",
            _short(prompt.get("id")) or "",
            _short(prompt.get("version")) or "",
            _short(context.get("tenant")) or "",
            _short(context.get("experiment")) or "",
            _short(context.get("run_id")) or "",
        ),
        error=status == "error",
        blocked=said["block_reason"] is not None,
        block_reason=_short(said["block_reason"]),
        tokens=tokens,
        cached=cached,
        estimated=llm.get("usage") == "estimated",
        ttft=ttft,
        tpot=max(0, duration - ttft) // (written - 1) if timed else None,
        cost=cost,
        cost_status=cost_status,
        documents=len(documents),
        cited=sum(document["cited"] for document in documents),
        scores=[(score["name"][:SHORT], score["value"]) for score in said["scores"]],
    )
