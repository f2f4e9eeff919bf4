"""Comparisons as SQL: every value, and every name that a person wrote, is a server-side parameter. Pure."""

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from spanloom_traces.grammar import Condition, FilterError

Kind = Literal["text", "number"]
_ORDERED = ("=", "!=", "<", "<=", ">", ">=")
_TEXTUAL = ("=", "!=", "LIKE", "ILIKE", "IN", "NOT IN")
_POSITIVE = {"!=": "=", "NOT IN": "IN"}


class Field(NamedTuple):
    """What a comparison looks at: an expression, NULL where it has no value, and what it holds."""

    sql: str
    kind: Kind
    among: str = ""
    """Of what may have several values: an expression that holds where what stands for {} does for one of them."""


class Parameters:
    """Values for one statement."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}

    def add(self, value: object, type: str) -> str:
        """What stands for `value` in the statement's text."""
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f"{{{name}:{type}}}"


Find = Callable[[Condition, Parameters], Field]
"""The field that a condition is about; raises FilterError for one that there is not."""


def compiled(conditions: Iterable[Condition], find: Find, parameters: Parameters) -> str:
    """An expression that holds where all the conditions do. Raises FilterError."""
    return " AND ".join(["1", *(_one(condition, find(condition, parameters), parameters) for condition in conditions)])


def _one(condition: Condition, field: Field, parameters: Parameters) -> str:
    comparator, against = condition.comparator, _against(condition, field.kind, parameters)
    if not field.among:
        return f"({field.sql}) {comparator} {against}"
    positive = _POSITIVE.get(comparator, comparator)
    found = field.among.replace("{}", f"({field.sql}) {positive} {against}")
    # That none of its values is so says nothing of what has none.
    return found if positive == comparator else f"({_any(field)} AND NOT {found})"


def _any(field: Field) -> str:
    return field.among.replace("{}", f"isNotNull({field.sql})")


def _against(condition: Condition, kind: Kind, parameters: Parameters) -> str:
    """What stands for the value. Raises FilterError where the field cannot be compared so."""
    comparator, value = condition.comparator, condition.value
    if kind == "number":
        if comparator not in _ORDERED or isinstance(value, str | tuple):
            raise FilterError(f"{condition.key} is a number: compare it by {' '.join(_ORDERED)} with one, unquoted")
        return parameters.add(value, "Int64" if isinstance(value, int) else "Float64")
    if comparator not in _TEXTUAL or not isinstance(value, str | tuple):
        raise FilterError(f"{condition.key} is a text: compare it by {', '.join(_TEXTUAL)} with one in quotes")
    return parameters.add(list(value) if isinstance(value, tuple) else value, _type(value))


def _type(value: str | tuple[str, ...]) -> str:
    return "Array(String)" if isinstance(value, tuple) else "String"
