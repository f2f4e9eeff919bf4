"""What was asked of a database, without the values: literals may be anybody's mail address or card number.

OpenTelemetry asks instrumentations to mask them (`db.query.text`), and says "?" for each; not all do.
"""

import re

STATEMENTS = frozenset({"db.statement", "db.query.text"})
"""Attributes that hold a statement."""

_LITERAL = re.compile(
    r"""
      '(?:[^']|'')*(?:'|$)  |  "(?:[^"]|"")*(?:"|$)          # to the end, where the statement was cut
    | (?P<tag>\$(?:[A-Za-z_]\w*)?\$).*?(?:(?P=tag)|$)        # PostgreSQL's $$text$$
    | --[^\n]*  |  /\*.*?(?:\*/|$)                           # comments
    | (?<![\w$?.:@-])-?(?:0x[0-9A-Fa-f]+|\.?\d[\w.]*)        # numbers, but not those of names: t1, $1, :1
    """,
    re.VERBOSE | re.DOTALL,
)
_QUOTE = re.compile("['\"]")


def masked(statement: str) -> str:
    """Return a statement with "?" for each literal, and for names in double quotes, which to MySQL are texts.

    Databases disagree on what a backslash does before a quote: of a statement that has one, the rest from its first
    quote on is masked. Takes time linear in the statement.
    """
    if "\\" in statement and (quote := _QUOTE.search(statement)):
        return _LITERAL.sub("?", statement[: quote.start()]) + "?"
    return _LITERAL.sub("?", statement)
