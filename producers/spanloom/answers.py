"""What a model answers, read from the chunks of its stream, or from the whole answer. Pure.

OpenAI's chat, completions and responses, Anthropic's messages, and whatever speaks like one of them; chunks are objects
or dicts. Of the text only its length is kept.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from spanloom_schemas.tokens import Tokens, disjoint

Said = Mapping[str, Any]

BYTES_A_TOKEN = 4
"""Of UTF-8, about, in prose of most languages and in code."""

_COUNTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "input": (("prompt_tokens",), ("input_tokens",)),
    "output": (("completion_tokens",), ("output_tokens",)),
    "cache_read": (
        *(("prompt_tokens_details", "cached_tokens"), ("input_tokens_details", "cached_tokens")),
        ("cache_read_input_tokens",),
    ),
    "cache_write": (
        *(("prompt_tokens_details", "cache_write_tokens"), ("input_tokens_details", "cache_write_tokens")),
        ("cache_creation_input_tokens",),
    ),
    "reasoning": (
        *(("completion_tokens_details", "reasoning_tokens"), ("output_tokens_details", "reasoning_tokens")),
        ("output_tokens_details", "thinking_tokens"),
    ),
}
"""Count → where providers report it."""
_WRITTEN = frozenset(
    {
        *("content", "text", "refusal", "reasoning_content", "reasoning", "thinking", "partial_json"),
        *("name", "arguments"),
    }
)
"""Where, in a part of an answer, there is something that the model wrote."""
_ASKED = ("messages", "input", "prompt", "system", "instructions", "tools")
"""Where, in a request, there is something that the model reads."""
_LAST = frozenset({"message_stop", "response.completed", "response.incomplete", "response.failed"})
_DEEPEST = 8
_NOTHING: dict[str, Any] = {}


class Answer:
    """One answer, as far as it came."""

    __slots__ = ("_anthropic", "counts", "error", "id", "model", "over", "pieces", "reasons", "size", "tier")

    def __init__(self) -> None:
        self.id = ""
        """The provider's name of the answer; empty: not known."""
        self.model: str | None = None
        self.tier: str | None = None
        self.counts: dict[str, int] = {}
        """Tokens as they were reported: input, output, cache_read, cache_write, reasoning."""
        self.reasons: tuple[str, ...] = ()
        """Why the model stopped, in the provider's words."""
        self.error: str | None = None
        """The provider's word for what went wrong in the middle of a stream."""
        self.pieces = 0
        """Chunks with something that the model wrote."""
        self.size = 0
        """Bytes of it."""
        self.over = False
        """Nothing more comes."""
        self._anthropic = False

    def read(self, chunk: object) -> bool:
        """Take a chunk, or the whole answer, in; say whether it told more than a piece of text."""
        said = _held(chunk)
        kind = _text(said, "type") or ""
        body = said if not kind else _held(said.get("message" if kind == "message_start" else "response")) or said
        choices = [_held(choice) for choice in _list(said, "choices")]
        self._anthropic |= kind.startswith("message")
        told = self._head(body)
        if (usage := body.get("usage") or said.get("usage")) is not None:
            told |= self._count(_held(usage), kind)
        told |= self._why(said, body, choices)
        if written := sum(map(_size, _pieces(kind, said, choices))):
            self.pieces += 1
            self.size += written
        if kind in _LAST:
            self.over = told = True
        return told

    @property
    def tokens(self) -> Tokens:
        """The reported counts, told apart: no token twice."""
        return disjoint("anthropic" if self._anthropic else None, **self.counts)

    def __int__(self) -> int:
        """Return about how many tokens the model wrote; a chunk with text has one at least."""
        return max(self.pieces, -(-self.size // BYTES_A_TOKEN))

    def __str__(self) -> str:
        """Return that number, for where it is no field's."""
        return str(int(self))

    def _head(self, body: Said) -> bool:
        before = self.id, self.model, self.tier
        self.id = self.id or _text(body, "id") or ""
        self.model = _text(body, "model") or self.model
        self.tier = _text(body, "service_tier") or self.tier
        return before != (self.id, self.model, self.tier)

    def _count(self, usage: Said, kind: str) -> bool:
        found = {name: count for name, paths in _COUNTS.items() if (count := _first(usage, paths)) is not None}
        if kind == "message_start":  # what Anthropic says there of the output is not about all of it
            found.pop("output", None)
        changed = any(self.counts.get(name) != count for name, count in found.items())
        self.counts |= found
        self.tier = _text(usage, "service_tier") or self.tier
        return changed

    def _why(self, said: Said, body: Said, choices: list[Said]) -> bool:
        """Learn why the model stopped, or what went wrong."""
        reasons = [_text(choice, "finish_reason") for choice in choices]
        if not choices:
            reasons += (_text(_held(said.get("delta")), "stop_reason"), _text(body, "stop_reason"))
            if (status := _text(body, "status")) in ("completed", "incomplete"):
                reasons.append(_text(_held(body.get("incomplete_details")), "reason") or status)
            self.error = _text(_held(body.get("error")), "code") or self.error
        self.reasons += tuple(reason for reason in reasons if reason)
        return any(reasons) or self.error is not None


def estimated(asked: Mapping[str, object]) -> int | None:
    """Return about how many tokens a model reads of a request's body; None: there is nothing that it could read."""
    size = sum(_length(asked.get(name), 0) for name in _ASKED)
    return -(-size // BYTES_A_TOKEN) or None


def _length(said: object, depth: int) -> int:
    if isinstance(said, str):
        return 0 if said.startswith("data:") else _size(said)  # an image
    if depth == _DEEPEST:
        return 0
    if isinstance(said, dict):
        return sum(_length(value, depth + 1) for key, value in said.items() if key != "data")
    if isinstance(said, list | tuple):
        return sum(_length(value, depth + 1) for value in said)
    return 0


def _pieces(kind: str, said: Said, choices: list[Said]) -> Iterator[str]:
    """Return what the model wrote in a chunk, or in a whole answer."""
    if kind.startswith("response."):  # of OpenAI's responses: all but deltas says again what was said
        delta = said.get("delta")
        return iter((delta,) if isinstance(delta, str) and kind.endswith(".delta") else ())
    parts: list[object] = [said.get("delta"), said.get("content_block"), *_list(said, "content")]
    for choice in choices:
        parts += (choice, choice.get("delta"), choice.get("message"))
    for item in _list(said, "output"):
        parts += (item, *_list(_held(item), "content"))
    found = [_held(part) for part in parts if part is not None]
    found += [_held(_held(call).get("function")) for part in found for call in _list(part, "tool_calls")]
    return (text for part in found for name in _WRITTEN & part.keys() if isinstance(text := part[name], str))


def _first(usage: Said, paths: tuple[tuple[str, ...], ...]) -> int | None:
    for *above, name in paths:
        found = (_held(usage.get(above[0])) if above else usage).get(name)
        if isinstance(found, int) and not isinstance(found, bool) and found >= 0:
            return found
    return None


def _held(said: object) -> Said:
    """Return what a mapping or an object holds by name. No property is asked: it may be the host's code."""
    if isinstance(said, dict):
        return said
    held: Said = getattr(said, "__dict__", _NOTHING)
    more = getattr(said, "__pydantic_extra__", None)
    return {**held, **more} if more else held


def _text(said: Said, name: str) -> str | None:
    found = said.get(name)
    return found if isinstance(found, str) and found else None


def _list(said: Said, name: str) -> list[Any]:
    found = said.get(name)
    return found if isinstance(found, list) else []


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
