"""Which traces are meant, as typed fields."""

from collections.abc import Iterator, Mapping
from datetime import timedelta

from msgspec import Struct

from spanloom_traces.grammar import Comparator, Condition, Value


class TraceFilter(Struct, frozen=True, kw_only=True):
    """What is given must hold of a trace; None asks for nothing. Costs are dollars."""

    service: str | None = None
    name: str | None = None
    """Of the root span."""
    environment: str | None = None
    tenant: str | None = None
    user: str | None = None
    """As stored: hashed."""
    session_id: str | None = None
    request_id: str | None = None
    experiment: str | None = None
    run_id: str | None = None
    prompt_id: str | None = None
    prompt_version: str | None = None
    model: str | None = None
    """Among the models that answered."""
    state: str | None = None
    """complete, partial or amended"""
    block_reason: str | None = None
    errors: bool | None = None
    """True: with a span in error; False: with none."""
    blocked: bool | None = None
    unpriced: bool | None = None
    over: timedelta | None = None
    """Took longer."""
    under: timedelta | None = None
    dearer: float | None = None
    """Cost more, as far as is known."""
    tokens_over: int | None = None
    context_over: int | None = None
    """More tokens of context in its prompts."""
    attributes: Mapping[str, str | int | float] | None = None
    """Some span has each of these attributes with this value; a number is compared as one."""

    def conditions(self) -> tuple[Condition, ...]:
        """The same as comparisons."""
        return tuple(self._conditions())

    def _conditions(self) -> Iterator[Condition]:
        for name in _SAME:
            if (value := getattr(self, name)) is not None:
                yield Condition("", name, "=", value)
        for name, key in _COUNTED.items():
            if (wanted := getattr(self, name)) is not None:
                yield Condition("", key, ">" if wanted else "=", 0)
        for name, (key, comparator) in _BOUNDS.items():
            if (bound := getattr(self, name)) is not None:
                yield Condition("", key, comparator, _number(bound))
        for name, value in (self.attributes or {}).items():
            yield Condition("span", f"attributes.{name}", "=", value)


_SAME = (
    *("service", "name", "environment", "tenant", "user", "session_id", "request_id", "experiment", "run_id"),
    *("prompt_id", "prompt_version", "model", "state", "block_reason"),
)
_COUNTED = {"errors": "errors", "blocked": "blocks", "unpriced": "unpriced"}
_BOUNDS: dict[str, tuple[str, Comparator]] = {
    "over": ("duration", ">"),
    "under": ("duration", "<"),
    "dearer": ("cost", ">"),
    "tokens_over": ("tokens", ">"),
    "context_over": ("context_tokens", ">"),
}


def _number(bound: timedelta | float) -> Value:
    return bound.total_seconds() if isinstance(bound, timedelta) else bound
