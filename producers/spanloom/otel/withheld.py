"""What people and models wrote, and who they are, stays here: only keyed hashes leave, and how much was held back."""

from collections.abc import Callable
from functools import lru_cache

from spanloom.buffer import Texts
from spanloom.fields import LONG, MANY, text
from spanloom.otel.dialects import CONTENT, CONTENT_PREFIXES, FIELDS, INPUTS, OUTPUTS
from spanloom.otel.received import Attributes
from spanloom.otel.values import plain

_WHOLE = frozenset((*INPUTS, *OUTPUTS))
_MAPPED = frozenset(name for names in FIELDS.values() for name in names)


@lru_cache(8192)
def is_content(name: str) -> bool:
    """Say whether an attribute of this name is held back."""
    return (name in CONTENT or name.startswith(CONTENT_PREFIXES)) and name not in _MAPPED


def hashes(said: Attributes, pseudonym: Callable[[str], str]) -> dict[str, object]:
    """Return the keyed hashes of what went in and what came out."""
    found: dict[str, object] = {}
    if _WHOLE.isdisjoint(said):
        return found
    for field, names in (("input_hash", INPUTS), ("output_hash", OUTPUTS)):
        whole = next((value for name in names if (value := said.get(name))), None)
        if whole is not None:
            found[field] = pseudonym(str(plain(whole)))
    return found


def texts(attributes: Attributes) -> tuple[Texts, int]:
    """Return attributes of an event or link as texts, at most MANY, and how many are held back."""
    shown = [(name, value) for name, value in attributes.items() if not is_content(name)]
    pairs = ((text(name), text(plain(value), LONG)) for name, value in shown[:MANY])
    return tuple((a, b) for a, b in pairs if a is not None and b is not None), len(attributes) - len(shown)
