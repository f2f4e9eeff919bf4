"""Prompt caching as OpenAI documents it: a prefix seen before is cached input, from 1024 tokens, in steps of 128."""

import hashlib
from collections import OrderedDict

MINIMUM = 1024
STEP = 128
_KEPT = 4096


class PrefixCache:
    """Remembers the prefixes of recent prompts, by model."""

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def cached(self, model: str, tokens: list[str]) -> int:
        """How many leading tokens were seen before; from now on these are."""
        digest = hashlib.sha256(model.encode())
        longest = 0
        for end in range(STEP, len(tokens) + 1, STEP):
            digest.update("".join(tokens[end - STEP : end]).encode())
            if end < MINIMUM:
                continue
            key = digest.digest()
            if key in self._seen:
                longest = end
            self._seen[key] = None
            self._seen.move_to_end(key)
        while len(self._seen) > _KEPT:
            self._seen.popitem(last=False)
        return longest
