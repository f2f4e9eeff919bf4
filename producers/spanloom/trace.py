"""What the spans of one trace share in this process: the id, what travels on to other processes, and the facts."""

from spanloom import ids

RANDOM = 0x02
SAMPLED = 0x01


class Trace:
    """Immutable but for `encoded`, where the sender keeps the bytes that all these spans have in common.

    `facts` are request_id, session_id, user, tenant, experiment, run_id, dataset_id, prompt_id, prompt_version. A span
    that learns one gets a Trace of its own, which its later children inherit: facts flow down, never up or across.
    """

    __slots__ = ("encoded", "facts", "flags", "id", "state")

    def __init__(self, id: str, flags: int, state: str, facts: dict[str, str]) -> None:
        self.id = id
        self.flags = flags
        self.state = state
        self.facts = facts
        self.encoded: object = None

    def knowing(self, facts: dict[str, str]) -> "Trace":
        """Return the same trace with more facts."""
        return Trace(self.id, self.flags, self.state, {**self.facts, **facts})


def begin(facts: dict[str, str]) -> Trace:
    """Start a new trace; its id is random, and says so."""
    return Trace(ids.trace_id(), SAMPLED | RANDOM, "", facts)
