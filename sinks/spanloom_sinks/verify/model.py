"""What verify says: findings, and the outcome of them all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """What a finding means for the outcome; only `wrong` makes it fail."""

    EXACT = "exact"
    WRONG = "wrong"
    NOTE = "note"
    """Counted and explained, or not known: nothing that should be there is known to be lost."""


@dataclass(frozen=True)
class Finding:
    """One line: what was compared and what came of it. `counts` are its numbers by name, for programs."""

    check: str
    state: State
    text: str
    counts: Mapping[str, Any] = field(default_factory=dict)
    examples: Sequence[str] = ()
    """A few of what differs, a line each."""
    query: str = ""
    """A statement that shows all of it, for `spanloom sql`."""


@dataclass(frozen=True)
class Report:
    """All findings about a range of time (epoch ms), and how long it took to make them."""

    since: int
    until: int
    findings: Sequence[Finding]
    seconds: float

    @property
    def exact(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.state is not State.WRONG for finding in self.findings)

    @property
    def outcome(self) -> str:
        """All of it in one line."""
        took = f"took {self.seconds:.1f} s"
        wrong = [finding for finding in self.findings if finding.state is State.WRONG]
        if wrong:
            return f"NOT exact: {', '.join(dict.fromkeys(finding.check for finding in wrong))} (see above); {took}"
        totals = {name: count for finding in self.findings for name, count in finding.counts.items()}
        if not totals.get("spans"):
            return f"nothing to verify: no span is stored of that time; {took}"
        parts = [f"exact: {totals['spans']:,} spans stored, 0 missing, 0 double, 0 wrong panes, 0 wrong traces"]
        for name, words in (("dropped", "dropped for a reason"), ("in_flight", "messages in flight")):
            if totals.get(name):
                parts.append(f"{totals[name]:,} {words}")
        if totals.get("tail_unknown"):
            parts.append(f"the tail of {totals['tail_unknown']:,} producers unknown")
        return "; ".join([*parts, took])
