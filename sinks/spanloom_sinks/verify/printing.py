"""A report in the terminal, and as JSON. Text from data is cleaned and never read as markup."""

import json
import unicodedata
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from spanloom_sinks.verify.model import Finding, Report, State

_SIGNS = {State.EXACT: ("✓", "green"), State.WRONG: ("✗", "bold red"), State.NOTE: ("•", "yellow")}


def show(report: Report, console: Console) -> None:
    """A line for each finding, what differs under it, and last of all the outcome."""
    console.print(f"{_moment(report.since)} to {_moment(report.until)} UTC\n", style="dim")
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in report.findings:
        sign, style = _SIGNS[finding.state]
        table.add_row(Text(sign, style=style), Text(finding.check, style="bold"), Text(_clean(finding.text)))
        for line in _below(finding):
            table.add_row("", "", line)
    console.print(table)
    console.print()
    console.print(outcome(report), soft_wrap=True)


def outcome(report: Report) -> Text:
    """The outcome in one line."""
    sign, style = _SIGNS[State.EXACT if report.exact else State.WRONG]
    return Text.assemble((f"{sign} ", style), report.outcome)


def as_json(report: Report) -> str:
    """The report as one JSON object, in ASCII, so that no text in it steers a terminal."""
    return json.dumps(
        {
            "exact": report.exact,
            "outcome": report.outcome,
            "since": _moment(report.since),
            "until": _moment(report.until),
            "seconds": round(report.seconds, 3),
            "findings": [
                {
                    "check": finding.check,
                    "state": finding.state.value,
                    "text": finding.text,
                    "counts": dict(finding.counts),
                    "examples": list(finding.examples),
                    "query": finding.query,
                }
                for finding in report.findings
            ],
        },
        indent=2,
    )


def _below(finding: Finding) -> list[Text]:
    if finding.state is not State.WRONG:
        return []
    lines = [Text(_clean(line), style="red") for line in finding.examples]
    return [*lines, Text(f'spanloom sql "{_clean(finding.query)}"', style="dim")] if finding.query else lines


def _clean(text: str) -> str:
    """`text` on one line, without what would steer a terminal."""
    return "".join(
        " " if c in "\t\r\n" else "�" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn") else c
        for c in text[:1000]
    )


def _moment(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
