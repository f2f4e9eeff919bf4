"""What the stub says: a pure function of the prompt, so that a run can be repeated."""

import re
from dataclasses import dataclass

from llama_stub.tokens import count, tokenize

_SOURCE = re.compile(r"^\[(\d+)\] (\S+)\n(.+?)(?=^\[\d+\] |\Z)", re.MULTILINE | re.DOTALL)
_MESSAGE_OVERHEAD = 4  # tokens that frame a message: role and separators
_SENTENCES = 2


@dataclass(frozen=True)
class Completion:
    """The tokens of an answer, and whether it stopped by itself."""

    tokens: list[str]
    finish_reason: str  # "stop" or "length"


def prompt_text(messages: list[dict[str, str]]) -> str:
    """The prompt as one text: what the prefix cache compares."""
    return "".join(f"{message['role']}\n{message['content']}\n" for message in messages)


def prompt_tokens(messages: list[dict[str, str]]) -> int:
    """The tokens of a prompt, with what frames each message."""
    return sum(count(message["content"]) + _MESSAGE_OVERHEAD for message in messages)


def complete(messages: list[dict[str, str]], max_tokens: int) -> Completion:
    """Quotes and cites the first sources that the prompt numbers (`[1] name`, then their text); else the question."""
    text = messages[-1]["content"]
    sources = _SOURCE.findall("\n".join(message["content"] for message in messages))
    if sources:
        said = " ".join(_quote(number, name, body) for number, name, body in sources[:_SENTENCES])
    else:
        said = f"I have no source about: {text.strip()[:200]}"
    tokens = tokenize(said)
    if len(tokens) > max_tokens:
        return Completion(tokens[:max_tokens], "length")
    return Completion(tokens, "stop")


def _quote(number: str, name: str, body: str) -> str:
    words = body.split()[:14]
    return f"{name}: {' '.join(words).rstrip('.:,;')} [{number}]."
