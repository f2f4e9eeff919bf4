"""How a span ended: the type of its error, why the model stopped, whether a safety check blocked it. Pure."""

from collections.abc import Iterable

from spanloom import fields
from spanloom.fields import text
from spanloom.otel import dialects as table
from spanloom.otel.received import Attributes, Received


def finish_reasons(raw: Iterable[str]) -> tuple[str, ...]:
    """Return OpenTelemetry's words for a provider's."""
    return tuple(_reason(said) for said in raw)


def error_type(span: Received, named: object) -> str | None:
    """Return the low-cardinality type of the error that a span ended with (`named`: by an attribute); None: of none."""
    if span.status != "error" and (
        table.LEVELS.isdisjoint(span.attributes)
        or not any(span.attributes.get(name) == "ERROR" for name in table.LEVELS)
    ):
        return None
    if isinstance(named, str):
        return named
    raised = (text(attributes.get("exception.type")) for _, _, attributes in reversed(span.events))
    return next((found for found in raised if found), "_OTHER")


def block_reason(said: Attributes, kind: str, error: str | None) -> str | None:
    """Return why a safety check blocked, in a word; None: nothing says that one did."""
    if error is None and _TELLING.isdisjoint(said):
        return None
    for rule in table.BLOCKS:
        value = text(said[rule.attribute]) if rule.attribute in said and rule.kind in (None, kind) else None
        if value is not None and value.lower() in rule.values:
            return next((found for name in table.BLOCK_REASONS if (found := text(said.get(name)))), "guardrail")
    for name in table.FIELDS["finish_reasons"]:
        if name in said and (refused := blocked_by(fields.texts(said[name]) or ())):
            return refused
    return _word(error) if error is not None and _word(error) in table.BLOCKING_ERRORS else None


def blocked_by(raw: Iterable[str]) -> str | None:
    """Return the provider's word where it is a safety check that stopped the model."""
    return next((_word(said) for said in raw if _reason(said) == "content_filter"), None)


_TELLING = frozenset((*table.FIELDS["finish_reasons"], *(rule.attribute for rule in table.BLOCKS)))
_REASONS = {raw: reason for reason, words in table.REASONS.items() for raw in words}


def _reason(said: str) -> str:
    return _REASONS.get(_word(said), _word(said))


def _word(said: str) -> str:
    """Without what an enumeration puts in front (FinishReason.SAFETY), and Langfuse around it ("stop" in quotes)."""
    return said.lower().strip('"').rpartition(".")[2]
