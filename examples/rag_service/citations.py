"""Which sources an answer cites."""

import re
from collections.abc import Sequence

from rag_service.retrieval import Hit

_CITATION = re.compile(r"\[(\d{1,2})\]")


def cited(answer: str, sources: Sequence[Hit]) -> list[Hit]:
    """The sources that `answer` cites by number, each once, in their order; a number without a source is ignored."""
    numbers = {int(number) for number in _CITATION.findall(answer)}
    return [hit for number, hit in enumerate(sources, 1) if number in numbers]
