"""Which traces keep what is sampled: payloads, and attributes under names of the host's own. Pure.

What is counted (tokens, times, errors, scores: whatever has a field) is never sampled, and no span is.
"""

from spanloom.buffer import Ended
from spanloom.trace import SAMPLED, Trace

SAMPLED_OUT = "spanloom.sampled_out"
"""Attribute that says how many others were left out."""

_OURS = "spanloom."
_RANDOM = 1 << 56


def sampled(trace: Trace, share: float) -> bool:
    """Say whether a trace is of the share that keeps something; one that its caller sampled out (`traceparent`) is not.

    Decided by the right 56 bits of its id, which are random, as OpenTelemetry's samplers decide: every process says the
    same of a trace, and a larger share holds all traces of a smaller one.
    """
    return share > 0 and trace.flags & SAMPLED != 0 and int(trace.id[-14:], 16) >= (1 - share) * _RANDOM


def thinned(span: Ended, share: float) -> Ended:
    """Return a span of a trace that is not of `share` without its attributes, which are counted; fields stay."""
    trace, number, parent, remote, name, kind, start, end, detail, events, links, cut = span
    if sampled(trace, share):
        return span
    from spanloom.wire import FIELDS  # the sender has it; the host need not load it

    kept = {key: said for key, said in detail.items() if key in FIELDS or str(key).startswith(_OURS)}
    if out := len(detail) - len(kept):
        kept[SAMPLED_OUT] = out
    return (trace, number, parent, remote, name, kind, start, end, kept, events, links, cut)
