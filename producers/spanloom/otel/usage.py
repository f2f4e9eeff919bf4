"""What a model call took: the five disjoint buckets of tokens, and the time to its first token. Pure."""

from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

from spanloom_schemas.tokens import INPUT_WITHOUT_CACHE, OUTPUT_WITHOUT_REASONING, Tokens

from spanloom import fields
from spanloom.otel import dialects as table
from spanloom.otel.dialects import REST
from spanloom.otel.received import Attributes, Received
from spanloom.otel.values import moment

_AHEAD = 10**7
MOST = 10**9
"""More than any call uses: such a count is none."""


class Counts(NamedTuple):
    """Counts by name (input, output, cache_read, cache_write, reasoning, total), as they were reported."""

    said: dict[str, int]
    bases: dict[str, bool]
    """Of input and output: WHOLE or REST, where the names of the counts tell."""
    names: frozenset[str]
    """The attributes they were read from."""


_PLACES = {
    part: (count, rank, basis)
    for count, sources in table.USAGE.items()
    for rank, (name, basis) in enumerate(sources.items())
    for part in (name, *table.SUMS.get(name, ()))
}


def read(said: Attributes) -> Counts:
    """Return the counts that a span reports."""
    best: dict[str, tuple[int, int, bool | None]] = {}
    names = []
    for name in said.keys() & _PLACES.keys():
        count, rank, basis = _PLACES[name]
        found = fields.integer(said[name])
        if found is not None and 0 <= found <= MOST:
            names.append(name)
            if count not in best or rank < best[count][0]:
                best[count] = (rank, found, basis)
            elif rank == best[count][0]:  # a part of the same count
                best[count] = (rank, best[count][1] + found, basis)
    bases = {
        whole: basis
        for whole, parts in (("input", ("input", "cache_read", "cache_write")), ("output", ("output", "reasoning")))
        for part in parts
        if (basis := best.get(part, _NONE)[2]) is not None
    }
    return Counts({count: found for count, (_, found, _) in best.items()}, bases, frozenset(names))


_NONE = (0, 0, None)


def disjoint(counts: Mapping[str, int], bases: Mapping[str, bool], provider: object) -> Tokens:
    """Return the counts, told apart: no token twice.

    Whether input contains the cache and output the reasoning is said, in this order, by a total to which only one
    reading adds up, by a part that is larger than its whole, by the name of the count, by the provider. All else
    follows OpenTelemetry: both are whole.
    """
    given, made, total = (counts.get(name) for name in ("input", "output", "total"))
    cache = counts.get("cache_read", 0) + counts.get("cache_write", 0)
    reasoning = counts.get("reasoning", 0)
    whole_input = bases.get("input", provider not in INPUT_WITHOUT_CACHE)
    whole_output = bases.get("output", provider not in OUTPUT_WITHOUT_REASONING)
    inputs = (REST,) if given is None or cache > given else (whole_input, not whole_input)
    outputs = (REST,) if made is None or reasoning > made else (whole_output, not whole_output)
    readings = list(product(inputs, outputs))
    sums = [(given or 0) + (made or 0) + (not i) * cache + (not o) * reasoning for i, o in readings]
    whole_input, whole_output = readings[sums.index(total) if total in sums else 0]
    return Tokens(
        input=given - cache if given is not None and whole_input else given,
        cache_read=counts.get("cache_read"),
        cache_write=counts.get("cache_write"),
        output=made - reasoning if made is not None and whole_output else made,
        reasoning=counts.get("reasoning"),
    )


def first_token(span: Received, said: Attributes) -> int | None:
    """Return the time to first token in nanoseconds, by an attribute, else by an event; None: not known.

    Who measures begins before the span does: of an answer that came at once it may be somewhat more than the whole.
    """
    found, lasted = _first(span, said), max(0, span.end - span.start)
    return min(found, lasted) if found is not None and 0 <= found <= 2 * lasted + _AHEAD else None


def _first(span: Received, said: Attributes) -> int | None:
    for name, unit in table.FIRST_TOKEN.items():
        if name in said and (found := fields.number(said[name])) is not None:
            return round(found * unit)
    for name in table.FIRST_TOKEN_AT:
        if (at := moment(said.get(name))) is not None:
            return at - span.start
    return next((time - span.start for name, time, _ in span.events if name in table.FIRST_TOKEN_EVENTS), None)
