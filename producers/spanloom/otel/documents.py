"""Documents and verdicts that foreign spans list under numbered names, as JSON, or as events. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from spanloom import fields
from spanloom.otel import dialects as table
from spanloom.otel.received import Attributes, Event
from spanloom.otel.values import parsed

Found = tuple[str, float | None, bool]
"""Id, score, cited."""
_PREFIXES = (*table.DOCUMENTS, *table.EVALUATIONS)
_NAMES = frozenset((*table.DOCUMENT_LISTS, *(name for name, _ in table.SCORES)))


def has_any(said: Attributes, events: Sequence[Event]) -> bool:
    """Say whether a span may have documents or verdicts: most have none."""
    return bool(events) or not _NAMES.isdisjoint(said) or any(name.startswith(_PREFIXES) for name in said)


def found_documents(said: Attributes, events: Sequence[Event], pseudonym: Callable[[str], str]) -> tuple[Found, ...]:
    """Return the documents in their order: (id, score, cited).

    One without an id is named by the keyed hash of its content, so that it is the same one next time.
    """
    for prefix in table.DOCUMENTS:
        if numbered := _numbered(said, prefix):
            return _some(_document(one, "document.", pseudonym) for one in numbered)
    for name in table.DOCUMENT_LISTS:
        if items := _list(said.get(name)):
            return _some(_document(one, "", pseudonym) for one in items if isinstance(one, dict))
    results = ((table.DOCUMENT_EVENTS.get(name), attributes) for name, _, attributes in events)
    return _some(_result(attributes, names) for names, attributes in results if names is not None)


def verdicts(said: Attributes, events: Sequence[Event]) -> dict[str, float]:
    """Return the scores of evaluations by name."""
    found = {}
    for prefix, (name, score) in table.EVALUATIONS.items():
        for one in _numbered(said, prefix):
            found[fields.text(one.get(name))] = fields.number(one.get(score))
    for attributes in (said, *(attributes for _, _, attributes in events)):
        for name, score in table.SCORES:
            if name in attributes:
                found[fields.text(attributes[name])] = fields.number(attributes.get(score))
    return {name: score for name, score in found.items() if name and score is not None}


def _numbered(said: Attributes, prefix: str) -> list[dict[str, object]]:
    """Return what lies under `prefix` N, in the order of N."""
    found: defaultdict[int, dict[str, object]] = defaultdict(dict)
    for name, value in said.items():
        if name.startswith(prefix):
            number, _, rest = name[len(prefix) :].partition(".")
            if number.isascii() and number.isdigit() and len(number) <= 6:
                found[int(number)][rest] = value
    return [found[number] for number in sorted(found)]


def _list(value: object) -> list[object]:
    found = parsed(value) if isinstance(value, str) else value
    return list(found) if isinstance(found, list | tuple) else []


def _document(one: Attributes, prefix: str, pseudonym: Callable[[str], str]) -> Found | None:
    name = fields.text(one.get(f"{prefix}id"))
    if not name:
        content = one.get(f"{prefix}content")
        name = pseudonym(str(content)) if content else None
    score = one.get(f"{prefix}score")
    cited = one.get(f"{prefix}cited") is True
    return (name, None if score is None else fields.number(score), cited) if name else None


def _result(attributes: Attributes, names: tuple[tuple[str, ...], tuple[str, ...]]) -> Found | None:
    ids, measures = ([attributes[name] for name in some if attributes.get(name) is not None] for some in names)
    said = fields.text(ids[0]) if ids else None
    return (said, fields.number(measures[0]) if measures else None, False) if said else None


def _some(found: Iterable[Found | None]) -> tuple[Found, ...]:
    return tuple(islice((one for one in found if one is not None), fields.DOCUMENTS))
