"""Builds the prompt, segment by segment, so that the tokens of each can be told apart."""

from collections.abc import Sequence
from dataclasses import dataclass

from llama_stub.tokens import count, tokenize

from rag_service.retrieval import Hit

ID = "answer_from_docs"
CONTEXT_BUDGET = 6000  # tokens

_SYSTEM = (
    "You are an assistant for Python's standard library. "
    "You answer from the documentation you are given and from nothing else."
)
_INSTRUCTIONS = (
    "Answer in two sentences. After each sentence cite the number of its source in square brackets. "
    "If the sources do not answer the question, say so."
)
_FEW_SHOT = (
    "Q: How do I sort a list in place?\n"
    "A: list.sort sorts the list in place, in ascending order [1]. Pass reverse=True for descending order [1].\n"
    "Q: How do I join strings?\n"
    "A: str.join concatenates any number of strings, the string it is called on between them [2]."
)
# Version 1 sends the beginning of each document. Version 2 is what a careless edit does: whole documents, all of them.
_PASSAGE_TOKENS = {"1": 90, "2": 900}
SOURCES = {"1": 4, "2": 12}


@dataclass(frozen=True)
class Prompt:
    """A prompt, and how many tokens each of its segments is."""

    version: str
    messages: list[dict[str, str]]
    tokens: dict[str, int]  # by segment: system, instructions, few_shot, context, user
    context_truncated: bool


def build(question: str, sources: Sequence[Hit], version: str) -> Prompt:
    """The prompt of `version` about `question`, its sources numbered from 1, cut where they exceed the budget."""
    passages = [
        f"[{number}] {hit.id}\n{_cut(hit.text, _PASSAGE_TOKENS[version])}\n" for number, hit in enumerate(sources, 1)
    ]
    whole = "".join(passages)
    context = _cut(whole, CONTEXT_BUDGET)
    segments = {
        "system": _SYSTEM,
        "instructions": _INSTRUCTIONS,
        "few_shot": _FEW_SHOT,
        "context": context,
        "user": question,
    }
    return Prompt(
        version=version,
        messages=[
            {"role": "system", "content": f"{_SYSTEM}\n{_INSTRUCTIONS}\n{_FEW_SHOT}"},
            {"role": "user", "content": f"Sources:\n{context}\nQuestion: {question}"},
        ],
        tokens={name: count(text) for name, text in segments.items()},
        context_truncated=len(context) < len(whole),
    )


def _cut(text: str, tokens: int) -> str:
    return "".join(tokenize(text)[:tokens])
