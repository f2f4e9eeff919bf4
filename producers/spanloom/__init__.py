"""Watch a GenAI service while it runs: `configure()` once, then `@trace_llm`, `with span(...)` and the span's setters.

Spans go to Kafka by a thread of their own, from a bounded buffer. Nothing here waits, raises because of a value, or
sends what people wrote: users and texts leave as keyed hashes only.
"""

from spanloom.checks import check_answer
from spanloom.decorate import trace_llm
from spanloom.feedback import feedback
from spanloom.instrumenting import instrument
from spanloom.process import configure, dropped, flush, shutdown
from spanloom.propagation import extract, inject
from spanloom.span import Remote, Span, current_span, span
from spanloom.threads import carry
from spanloom.timed import timed

__all__ = [
    "Remote",
    "Span",
    "carry",
    "check_answer",
    "configure",
    "current_span",
    "dropped",
    "extract",
    "feedback",
    "flush",
    "inject",
    "instrument",
    "shutdown",
    "span",
    "timed",
    "trace_llm",
]
