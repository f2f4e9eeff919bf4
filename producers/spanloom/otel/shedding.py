"""What a span of another instrumentation goes without when the buffer fills up. Pure.

First long texts, which would leave as hashes at most, then events. What is counted of it (tokens, times, errors,
blocks, documents, scores) stays.
"""

from typing import NamedTuple

from spanloom.buffer import SHED
from spanloom.fields import SHORT
from spanloom.otel import dialects as table
from spanloom.otel.received import Attributes, Event, Received
from spanloom.otel.withheld import OUTPUTS, is_content

_READ = frozenset((*table.UNFOLD, *table.FINISH_MESSAGES, *table.ANSWERS, *(rule.attribute for rule in table.BLOCKS)))
"""Texts in which the mapping looks for more than a hash."""
_EVENTS = table.FIRST_TOKEN_EVENTS | table.FINISH_EVENTS | table.DOCUMENT_EVENTS.keys()
_TELLING = frozenset(("exception.type", *(name for names in table.SCORES for name in names)))
"""Events, and attributes of events, that the mapping counts."""
_OUTPUTS = ("llm.output_messages.", "llm.choices.", "gen_ai.completion.", *OUTPUTS)


class Shortened(NamedTuple):
    """A span, what was taken of it (input, output, events), and how many characters that were."""

    span: Received
    taken: tuple[str, ...]
    letters: int


def shortened(span: Received, events: bool) -> Shortened:
    """Return a span without what it can do without, which its attribute `spanloom.shed` names."""
    long = {name: size for name, said in span.attributes.items() if (size := _size_of_long(name, said))}
    gone = [event for event in span.events if not _tells(event)] if events else []
    taken = {"output" if name.startswith(_OUTPUTS) else "input" for name in long} | ({"events"} if gone else set())
    if not taken:
        return Shortened(span, (), 0)
    named = tuple(name for name in ("input", "output", "events") if name in taken)
    attributes = {name: said for name, said in span.attributes.items() if name not in long}
    attributes[SHED] = ",".join(named)
    kept = [event for event in span.events if _tells(event)] if gone else span.events
    letters = sum(long.values()) + sum(_letters(said) for _, _, said in gone)
    return Shortened(span._replace(attributes=attributes, events=kept), named, letters)


def _tells(event: Event) -> bool:
    return event[0] in _EVENTS or not _TELLING.isdisjoint(event[2])


def _size_of_long(name: str, said: object) -> int:
    """Return the length of a long text that the mapping only hashes; 0 of all else."""
    if not isinstance(said, str) or len(said) <= SHORT or name in _READ or name.startswith(table.DOCUMENTS):
        return 0
    return len(said) if is_content(name) else 0


def _letters(attributes: Attributes) -> int:
    return sum(len(said) for said in attributes.values() if isinstance(said, str))
