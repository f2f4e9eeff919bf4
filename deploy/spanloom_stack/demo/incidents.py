"""The three incidents of the load generator, and the rule that must page for each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Incident:
    """An incident by the load generator's name, what it is, and the rule (`rules.yaml`) that notices it."""

    name: str
    title: str
    rule: str
    about: str
    """What the finding is about that an explanation of a trace in its page must have …"""
    guilty: str
    """… and the name of the span that it must name."""
    guilty_by_otlp: str | None
    """The same where OpenTelemetry tells; None: it has no name for what tells it (the segments of a prompt)."""


INCIDENTS = (
    Incident(
        "slow_retrieval",
        "retrieval takes 5 s longer",
        "SlowAnswers",
        "latency",
        "search documents",
        "retrieval python-docs",
    ),
    Incident(
        "tripled_tokens", "a prompt version sends three times the tokens", "HeavyPrompt", "prompt", "build prompt", None
    ),
    Incident(
        "blocked_wave",
        "nearly half of the questions must be blocked",
        "BlockedRequests",
        "block",
        "check question",
        "run_guardrail check question",
    ),
)
