"""Filters as MLflow writes them: `params.llm.model = 'gpt-4o' AND metrics.latency_ms_p95 < 1200`. Pure.

Comparisons are joined by AND. Left stands a field: an entity, a dot and a key; a key with other characters than
letters, digits, underscores and dots stands in double quotes or backticks. Comparators are = != < <= > >= LIKE ILIKE IN
and NOT IN. Right stands a number, or a text in single or double quotes in which the quote itself is written twice, or
a list of texts in parentheses. What has no value for a field is found by no comparison with it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Literal, NoReturn

from msgspec import Struct

from spanloom_traces.connection import StoreError

Comparator = Literal["=", "!=", "<", "<=", ">", ">=", "LIKE", "ILIKE", "IN", "NOT IN"]
Value = int | float | str | tuple[str, ...]

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
      | (?P<name>[^\W\d]\w*(?:\.\w+)*(?:\.(?:"(?:[^"]|"")*"|`(?:[^`]|``)*`))?)
      | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
      | (?P<comparator><=|>=|!=|=|<|>)
      | (?P<mark>[(),])
    )""",
    re.VERBOSE,
)
_WORDS = ("AND", "LIKE", "ILIKE", "IN", "NOT")


class FilterError(StoreError):
    """A filter that cannot be read: one line that says where and what is expected."""


class Condition(Struct, frozen=True):
    """One comparison; `entity` is '' where the filter names none."""

    entity: str
    key: str
    comparator: Comparator
    value: Value


class _Token(Struct, frozen=True):
    kind: str
    """number, name, text, comparator, mark, word or end"""
    text: str
    at: int


def parse(filter: str, entities: Mapping[str, str]) -> tuple[Condition, ...]:
    """The comparisons of a filter, none of an empty one. Raises FilterError.

    `entities` says what the words before the first dot mean. Where another one, or none, stands there the entity is ''
    and the key whole.
    """
    if not filter.strip():
        return ()
    tokens, found = _tokens(filter), []
    while True:
        found.append(_condition(tokens, entities))
        joint = next(tokens)
        if joint.kind == "end":
            return tuple(found)
        if joint.kind != "word" or joint.text != "AND":
            _refuse(joint, "AND or the end (OR is not part of MLflow's grammar)")


def _tokens(filter: str) -> Iterator[_Token]:
    at, end = 0, len(filter.rstrip())
    while at < end:
        found = _TOKEN.match(filter, at)
        if not found or found.lastgroup is None:
            rest = filter[at:].lstrip()
            _refuse(_Token("", rest[:20], len(filter) - len(rest)), "a field, a comparator, a number or a quoted text")
        kind, text = found.lastgroup, found[found.lastgroup]
        word = text.upper()
        yield _Token("word", word, found.start(kind)) if word in _WORDS else _Token(kind, text, found.start(kind))
        at = found.end()
    yield _Token("end", "", end)


def _condition(tokens: Iterator[_Token], entities: Mapping[str, str]) -> Condition:
    field = next(tokens)
    if field.kind != "name":
        _refuse(field, "a field, such as params.llm.model")
    entity, key = _field(field.text, entities)
    comparator = _comparator(tokens)
    return Condition(entity, key, comparator, _list(tokens) if comparator in ("IN", "NOT IN") else _value(next(tokens)))


def _field(text: str, entities: Mapping[str, str]) -> tuple[str, str]:
    """MLflow's rule: what stands before the first dot is the entity, the rest is the key, dots and all."""
    first, _, rest = text.partition(".")
    entity, key = (entities[first.lower()], rest) if rest and first.lower() in entities else ("", text)
    head, quote, quoted = re.fullmatch(r"""([^"`]*)(["`]?)(.*)""", key, re.DOTALL).groups()  # type: ignore[union-attr]
    return entity, head + quoted.removesuffix(quote).replace(quote * 2, quote) if quote else key


def _comparator(tokens: Iterator[_Token]) -> Comparator:
    first = next(tokens)
    if first.kind == "comparator" or (first.kind == "word" and first.text in ("LIKE", "ILIKE", "IN")):
        return first.text  # type: ignore[return-value]
    if first.kind == "word" and first.text == "NOT" and (second := next(tokens)).kind == "word" and second.text == "IN":
        return "NOT IN"
    return _refuse(first, "a comparator: = != < <= > >= LIKE ILIKE IN or NOT IN")


def _value(token: _Token) -> int | float | str:
    if token.kind == "text":
        return _unquoted(token.text)
    if token.kind == "number":
        return int(token.text) if re.fullmatch(r"[+-]?\d{1,18}", token.text) else float(token.text)
    return _refuse(token, "a number or a text in quotes")


def _list(tokens: Iterator[_Token]) -> tuple[str, ...]:
    values: list[str] = []
    while (mark := next(tokens)).text == ("," if values else "(") and mark.kind == "mark":
        text = next(tokens)
        if text.kind != "text":
            _refuse(text, "a text in quotes")
        values.append(_unquoted(text.text))
    if not values or mark.text != ")" or mark.kind != "mark":
        _refuse(mark, "a list of texts, such as ('a', 'b')")
    return tuple(values)


def _unquoted(text: str) -> str:
    return text[1:-1].replace(text[0] * 2, text[0])


def _refuse(token: _Token, expected: str) -> NoReturn:
    where = f"at {token.text!r} (character {token.at + 1})" if token.kind != "end" else "at its end"
    raise FilterError(f"the filter cannot be read {where}: expected {expected}")
