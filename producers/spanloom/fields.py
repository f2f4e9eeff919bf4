"""What can be said about a span: the fields of the schema by their column names, and how a host's value becomes one.

A converter never raises: it returns None for a value that is none of its kind, and the value is then kept as an
attribute.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from math import isfinite
from typing import Any, cast

KINDS = (
    *("other", "request", "queue", "preproc", "prompt", "retrieval", "rerank", "llm", "embedding", "tool"),
    *("postproc", "safety", "feedback"),
)
OTEL_KINDS = ("internal", "server", "client", "producer", "consumer")
STATUSES = ("unset", "ok", "error")
SEGMENTS = ("system", "instructions", "few_shot", "context", "user")

SHORT = 256
"""Characters of an id or a name; what is longer is cut."""
LONG = 4096
"""Characters of an attribute's value."""
MANY = 128
"""Attributes, events, links and scores of one span, as in OpenTelemetry's limits."""
DOCUMENTS = 100

_LARGEST = 2**63 - 1


def text(value: object, limit: int = SHORT) -> str | None:
    """Return `value` as text of at most `limit` characters; None for nothing and for what cannot say what it is."""
    if type(value) is not str:
        if value is None:
            return None
        try:
            value = ("true" if value else "false") if isinstance(value, bool) else str(value)
        except Exception:
            return None
    return value if len(value) <= limit else value[:limit]


def integer(value: object) -> int | None:
    """Return `value` as a whole number that fits a long."""
    try:
        number = int(value)  # type: ignore[call-overload]
    except Exception:
        return None
    return number if -_LARGEST <= number <= _LARGEST else None


def number(value: object) -> float | None:
    """Return `value` as a finite double."""
    try:
        real = float(value)  # type: ignore[arg-type]
    except Exception:
        return None
    return real if isfinite(real) else None


def flag(value: object) -> bool | None:
    """Return `value` if it is true or false, or their names."""
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None


def texts(value: object) -> tuple[str, ...] | None:
    """Return a list of short texts; one text is a list of one."""
    if isinstance(value, str):
        value = (value,)
    try:
        return tuple(said for item in islice(value, MANY) if (said := text(item)) is not None)  # type: ignore[call-overload]
    except Exception:
        return None


def scores(value: object) -> dict[str, float] | None:
    """Return name → finite number of a mapping."""
    return (
        None
        if (found := _pairs(value)) is None
        else {
            name: score
            for key, said in found
            if (name := text(key)) is not None and (score := number(said)) is not None
        }
    )


def note_tokens(segments: Mapping[str, int], detail: dict[Any, object]) -> None:
    """Note the tokens of a prompt's segments under the names of their fields; nothing of what is no mapping."""
    try:
        for segment, count in islice(segments.items(), MANY):
            if type(count) is int:
                detail[_SEGMENT_FIELDS.get(segment) or f"{text(segment)}_tokens"] = count
    except Exception:  # a mapping of the host's own making may raise anything
        return


_SEGMENT_FIELDS: dict[object, str] = {segment: f"{segment}_tokens" for segment in SEGMENTS}


def _pairs(value: object) -> list[tuple[object, object]] | None:
    try:
        return list(islice(value.items(), MANY))  # type: ignore[attr-defined]
    except Exception:
        return None


Document = str | tuple[Any, ...] | Mapping[str, Any]
"""An id; or (id, score) or (id, score, cited); or a mapping with these keys."""


def documents(value: object) -> tuple[tuple[str, float | None, bool], ...] | None:
    """Return (id, score, cited) of the first `DOCUMENTS` documents that have an id."""
    try:
        found = [_document(item) for item in islice(cast(Iterable[Document], value), DOCUMENTS)]
    except Exception:
        return None
    return tuple(document for document in found if document is not None)


def held(value: object) -> tuple[list[Document] | None, int]:
    """Return documents as `documents` will read them, out of the host's reach, and about how many bytes they hold.

    The cheap half of the work, for the host's thread.
    """
    try:
        found: list[Document] = list(islice(value, DOCUMENTS))  # type: ignore[call-overload]
        size = 160 * len(found)
        for place, item in enumerate(found):
            if type(item) is tuple and type(item[0]) is str:
                size += len(item[0])
            elif type(item) is str:
                size += len(item)
            else:
                found[place] = said = _document(item) or ""
                size += len(said[0]) if said else 0
    except Exception:
        return None, 0
    return found, size


def _document(item: Document) -> tuple[str, float | None, bool] | None:
    if type(item) is not tuple:
        if isinstance(item, Mapping):
            item = (item.get("id"), item.get("score"), item.get("cited", False))
        elif isinstance(item, str):
            item = (item,)
    name, score, cited = item if len(item) == 3 else (*item, None, None)[:3]
    said = name if type(name) is str and len(name) <= SHORT else text(name)
    if type(score) is not float or not isfinite(score):
        score = None if score is None else number(score)
    return (said, score, bool(cited)) if said else None


def _one_of(symbols: tuple[str, ...]) -> Callable[[object], str | None]:
    return lambda value: value if isinstance(value, str) and value in symbols else None


FACTS = {
    **{name: name for name in ("request_id", "session_id", "user", "tenant", "experiment", "run_id", "dataset_id")},
    **{name: name for name in ("prompt_id", "prompt_version")},
    "user_id": "user",
    "enduser.id": "user",
    "session": "session_id",
}
"""Name in `attributes=` → fact that a span passes on to the spans below it in the same process."""


def otel_kind(value: object) -> str | None:
    """Return an OpenTelemetry SpanKind."""
    return value if isinstance(value, str) and value in OTEL_KINDS else None


def status(value: object) -> str | None:
    """Return a status."""
    return value if isinstance(value, str) and value in STATUSES else None


def usage(value: object) -> str | None:
    """Return where token counts come from."""
    return value if isinstance(value, str) and value in ("measured", "estimated", "unknown") else None


COMPOUND = {"finish_reasons": texts, "scores": scores, "documents": documents}
"""Fields that hold more than one value, with what makes a copy of them that the host cannot change."""

ALIASES = {"model": "request_model", "k": "retriever_k", "time_to_first_token": "ttft"}
"""Other names that `attributes=` understands."""
