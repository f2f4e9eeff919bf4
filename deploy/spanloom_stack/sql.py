"""What the HTTP door must know of a statement before the engine sees it. Pure.

Only the head of an INSERT is read here, to find where its data begins, and the canonical text of a reader's query, as
the engine's own `formatQuerySingleLine` printed it: no comments, no heredocs, identifiers quoted only where they must.
"""

import re
from typing import NamedTuple

_TOKEN = re.compile(
    rb"""
    (?P<skip> \s+ | --[^\n]* | /\*.*?\*/ )
  | (?P<quoted> '(?:\\.|''|[^'\\])*' | `(?:\\.|``|[^`\\])*` | "(?:\\.|""|[^"\\])*" )
  | (?P<word> [A-Za-z_][A-Za-z0-9_]* )
  | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_FORMAT = re.compile(r"\bFORMAT\s+(\w+)(?:\s+SETTINGS\b[^']*)?\s*;?\s*$", re.IGNORECASE)

# Statements that only read. SHOW, DESCRIBE and EXPLAIN are what clients and Grafana use to look around.
_READING = frozenset({"SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN"})

# Table functions that compute and reach nothing outside the engine's own tables.
SAFE_TABLE_FUNCTIONS = frozenset(
    {
        *("format", "generateRandom", "generateSeries", "generate_series", "null", "numbers", "numbers_mt", "primes"),
        *("values", "view", "viewExplain", "viewIfPermitted", "zeros", "zeros_mt", "merge", "loop"),
        *("mergeTreeAnalyzeIndexes", "mergeTreeIndex", "mergeTreeProjection"),
        *("timeSeriesData", "timeSeriesMetrics", "timeSeriesSelector", "timeSeriesTags"),
    }
)


class Insert(NamedTuple):
    """An INSERT whose data follows: the statement up to its settings, those, the format, and where its data begins."""

    statement: str
    settings: str
    format: str
    data: int

    def of_file(self, path: str) -> str:
        """The same INSERT of the data in a file."""
        return f"{self.statement} FROM INFILE {literal(path)} COMPRESSION 'none' {self.settings} FORMAT {self.format}"


def insert(text: bytes) -> Insert | None:
    """The INSERT with data that `text` begins with; None for every other statement (INSERT … SELECT included)."""
    depth = settings = 0
    words: list[bytes] = []
    before = b""
    for token in _TOKEN.finditer(text):
        if token.lastgroup == "other":
            depth += {b"(": 1, b")": -1}.get(token[0], 0)
        elif token.lastgroup == "word" and depth == 0:
            word = token[0].upper()
            if (not words and word != b"INSERT") or word in (b"SELECT", b"WITH", b"INFILE"):
                return None
            if word == b"SETTINGS" and before not in (b".", b"INTO", b"TABLE"):
                settings = token.start()
            if word == b"VALUES" and len(words) > 1:
                return _parted(text[: token.start()], settings, "Values", token.end())
            if words and words[-1] == b"FORMAT":
                head = text[: text.upper().rindex(b"FORMAT", 0, token.start())]
                return _parted(head, settings, token[0].decode(), _newline(text, token.end()))
            words.append(word)
        before = before if token.lastgroup == "skip" else token[0].upper()
    return None


def _parted(head: bytes, settings: int, format: str, data: int) -> Insert:
    end = settings or len(head)
    return Insert(head[:end].decode(), head[end:].decode(), format, data)


def output_format(query: str, default: str) -> str:
    """The format a query's answer will have."""
    found = _FORMAT.search(query[-4096:])
    return found[1] if found else default


def literal(text: str) -> str:
    """`text` as a string literal of SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def refusal(canonical: str, forbidden: frozenset[str]) -> str | None:
    """Why a reader may not run the query with this canonical text; None when it may.

    The engine's `readonly` forbids writes and most table functions, but its local build lets a query read files by the
    function `file`, write them by INTO OUTFILE, and lift its own limits by SETTINGS. `forbidden` names functions, in
    lower case.
    """
    tokens = [(t.lastgroup, t[0].decode()) for t in _TOKEN.finditer(canonical.encode()) if t.lastgroup != "skip"]
    first = next((value.upper() for kind, value in tokens if kind == "word"), "")
    if first not in _READING:
        return f"a reader may not run {first or 'this'}"
    following = [*tokens[1:], ("", ""), ("", "")]
    for (kind, value), (_, after), (_, second) in zip(tokens, following, following[1:], strict=False):
        upper = value.upper()
        if after == "(" and value.strip('`"').lower() in forbidden:
            return f"a reader may not call {value}"
        if kind == "word" and upper == "INTO" and after.upper() == "OUTFILE":
            return "a reader may not write files"
        if kind == "word" and upper == "SETTINGS" and second == "=":
            return "a reader may not change settings in a query"
    return None


def _newline(text: bytes, position: int) -> int:
    """Skip the one line end, and the blanks before it, that separate an INSERT's head from its data."""
    separator = re.compile(rb"[ \t]*;?[ \t]*(?:\r?\n)?").match(text, position)
    return separator.end() if separator else position
