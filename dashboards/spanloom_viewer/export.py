"""A query's answer for another program: JSON lines, or CSV that is safe to open in a spreadsheet."""

import csv
import io
import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from spanloom_traces.model import Answer

# A cell that begins so is run as a formula by spreadsheets (OWASP, CSV injection), full-width forms too.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def csv_text(answer: Answer) -> str:
    """CSV with a header (RFC 4180). A text that a spreadsheet would run as a formula gets an apostrophe before it."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([_guarded(column) for column in answer.columns])
    writer.writerows([[_guarded(plain(value)) for value in row] for row in answer.rows])
    return text.getvalue()


def _guarded(value: Any) -> Any:
    if isinstance(value, list | dict):
        value = json.dumps(value)
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value


def json_lines(answer: Answer) -> str:
    """One JSON object a row, in ASCII, so that no text in it steers a terminal."""
    rows = (dict(zip(answer.columns, map(plain, row), strict=True)) for row in answer.rows)
    return "".join(json.dumps(row) + "\n" for row in rows)


def plain(value: object) -> Any:
    """A value as JSON can hold it: times in ISO 8601, bytes as hexadecimal, what JSON has no number for as text."""
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    return str(value)
