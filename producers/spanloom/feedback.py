"""What a user thought of an answer, as a span of kind feedback in the answer's trace."""

import re
from collections.abc import Mapping

from spanloom import fields, process
from spanloom.span import Remote, Span
from spanloom.trace import SAMPLED, Trace

_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
_SPAN_ID = re.compile(r"(?!0{16})[0-9a-f]{16}")


def feedback(
    trace_id: str,
    *,
    span_id: str | None = None,
    thumbs: bool | None = None,
    rating: float | None = None,
    text: str | None = None,
    scores: Mapping[str, float] | None = None,
    attributes: Mapping[str, object] | None = None,
) -> None:
    """Attach a user's verdict to a trace, or to one span of it, at any later time and from any process.

    `thumbs` up or down becomes the score thumbs (1 or 0), `rating` the score rating. Of `text` only a keyed hash is
    kept. An id that is none (32 and 16 lower-case hexadecimal characters) is logged, and nothing is sent.
    """
    if not (_TRACE_ID.fullmatch(str(trace_id)) and (span_id is None or _SPAN_ID.fullmatch(str(span_id)))):
        return process.complain("feedback() was given ids that are none", f"{trace_id!r:.80} {span_id!r:.80}")
    number = None if span_id is None else int(span_id, 16)
    said = Span("feedback", "feedback", Remote(Trace(trace_id, SAMPLED, "", process.facts()), number))
    if thumbs is not None:
        said.add_score("thumbs", 1 if thumbs else 0)
    if rating is not None:
        said.add_score("rating", rating)
    for name, value in (fields.scores(scores) or {}).items():
        said.add_score(name, value)
    said.payload(input=text)
    if attributes is not None:
        said.set_attributes(attributes)
    said.end()
    return None
