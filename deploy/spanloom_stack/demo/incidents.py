"""The three incidents of the load generator, and the rule that must page for each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Incident:
    """An incident by the load generator's name, what it is, and the rule (`rules.yaml`) that notices it."""

    name: str
    title: str
    rule: str


INCIDENTS = (
    Incident("slow_retrieval", "retrieval takes 5 s longer", "SlowAnswers"),
    Incident("tripled_tokens", "a prompt version sends three times the tokens", "HeavyPrompt"),
    Incident("blocked_wave", "nearly half of the questions must be blocked", "BlockedRequests"),
)
