"""The stub's tokenizer. Real ones differ; what matters is that the server and its clients count with the same one."""

import re

_TOKEN = re.compile(r"\s*(?:\w{1,6}|[^\w\s])|\s+")


def tokenize(text: str) -> list[str]:
    """Pieces of at most six letters or one mark, each with the space before it: joined again they are the text."""
    return _TOKEN.findall(text)


def count(text: str) -> int:
    """How many tokens `text` is."""
    return len(tokenize(text))
