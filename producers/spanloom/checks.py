"""What can be told of a model's answer without another model: whether it refuses, whether its length can be right."""

from spanloom.span import Span, current_span

OPENING = 240
"""Characters in which a refusal says that it is one."""
REFUSALS = (
    *("i can't help", "i cannot help", "i can't assist", "i cannot assist", "i can't provide", "i cannot provide"),
    *("i can't comply", "i cannot comply", "i can't fulfill", "i cannot fulfill"),
    *("i can't do that", "i cannot do that", "i can't answer", "i cannot answer"),
    *("i can't discuss", "i cannot discuss", "i can't create", "i cannot create"),
    *("i'm unable to", "i am unable to", "i'm not able to", "i am not able to", "i won't be able to"),
    *("i must decline", "i have to decline", "i won't help", "i will not help"),
    *("can't engage with that", "against my guidelines"),
    *("ich kann dir dabei nicht helfen", "ich kann ihnen dabei nicht helfen"),
    *("dabei kann ich nicht helfen", "das kann ich leider nicht"),
    *("je ne peux pas vous aider", "je ne peux pas répondre", "je ne suis pas en mesure de"),
    *("no puedo ayudar", "no puedo proporcionar", "no puedo responder", "lo siento, pero no puedo"),
)
"""What models say where they refuse, in lower case."""


def refuses(answer: str) -> bool:
    """Say whether an answer opens as models do that refuse. A polite answer that is one in other words is not found."""
    opening = answer[:OPENING].lower().replace("\u2019", "'")
    return any(said in opening for said in REFUSALS)


def check_answer(answer: str, *, least: int | None = None, most: int | None = None, span: Span | None = None) -> bool:
    """Check a model's answer; say whether it passes. Nothing of the text is kept.

    The current span, or `span`, is told by scores: `refusal` (1 or 0), and, where bounds in characters are given,
    `length_ok` (1 or 0). Their means are rates: of refusals, of answers whose length can be right.
    """
    refusal = refuses(answer)
    fits = (least or 0) <= len(answer.strip()) and (most is None or len(answer) <= most)
    checked = span or current_span()
    if checked is not None:
        checked.add_score("refusal", refusal)
        if (least, most) != (None, None):
            checked.add_score("length_ok", fits)
    return fits and not refusal
