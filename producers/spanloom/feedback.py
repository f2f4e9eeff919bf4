"""What a user thought of an answer, as a span of kind feedback in the answer's trace."""

import re
from collections.abc import Mapping

from spanloom import fields, process
from spanloom.complaints import complain
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

    `thumbs` up or down becomes the score thumbs (1 or 0), `rating` (1 to 5) the score rating. Of `text` a keyed hash is
    kept, and where payloads are asked for the sanitized text. An id that is none (32 and 16 lower-case hexadecimal
    characters) is logged, and nothing is sent; so is a verdict that is none, and the rest is sent.
    """
    if not (_TRACE_ID.fullmatch(str(trace_id)) and (span_id is None or _SPAN_ID.fullmatch(str(span_id)))):
        return complain("feedback() was given ids that are none", f"{trace_id!r:.80} {span_id!r:.80}")
    number = None if span_id is None else int(span_id, 16)
    said = Span("feedback", "feedback", Remote(Trace(trace_id, SAMPLED, "", process.facts()), number))
    for name, verdict, score in (("thumbs", thumbs, _thumb(thumbs)), ("rating", rating, _stars(rating))):
        if score is not None:
            said.add_score(name, score)
        elif verdict is not None:
            complain(f"feedback() was given {name} that are none", f"{verdict!r:.80}")
    for name, value in (fields.scores(scores) or {}).items():
        said.add_score(name, value)
    said.payload(input=text)
    if attributes is not None:
        said.set_attributes(attributes)
    said.end()
    return None


def _thumb(thumbs: object) -> float | None:
    up = fields.number(thumbs)
    return up if up in (0, 1) else None


def _stars(rating: object) -> float | None:
    stars = fields.number(rating)
    return stars if stars is not None and 1 <= stars <= 5 else None
