"""Comparisons as SQL: every value, and every name that a person wrote, is a server-side parameter. Pure."""

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from spanloom_traces.grammar import Condition, FilterError

Kind = Literal["text", "texts", "number"]
_ORDERED = ("=", "!=", "<", "<=", ">", ">=")
_TEXTUAL = ("=", "!=", "LIKE", "ILIKE", "IN", "NOT IN")


class Field(NamedTuple):
    """What a comparison looks at: an expression, NULL where it has no value, and what it holds."""

    sql: str
    kind: Kind


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
    comparator, value = condition.comparator, condition.value
    if field.kind == "number":
        if comparator not in _ORDERED or isinstance(value, str | tuple):
            raise FilterError(f"{condition.key} is a number: compare it by {' '.join(_ORDERED)} with one, unquoted")
        number = parameters.add(value, "Int64" if isinstance(value, int) else "Float64")
        return f"({field.sql}) {comparator} {number}"
    if comparator not in _TEXTUAL or not isinstance(value, str | tuple):
        raise FilterError(f"{condition.key} is a text: compare it by {', '.join(_TEXTUAL)} with one in quotes")
    against = parameters.add(list(value) if isinstance(value, tuple) else value, _type(value))
    if field.kind == "text":
        return f"({field.sql}) {comparator} {against}"
    positive = {"!=": "=", "NOT IN": "IN"}.get(comparator, comparator)
    exists = f"arrayExists(one -> one {positive} {against}, {field.sql})"
    return exists if positive == comparator else f"(notEmpty({field.sql}) AND NOT {exists})"


def _type(value: str | tuple[str, ...]) -> str:
    return "Array(String)" if isinstance(value, tuple) else "String"
