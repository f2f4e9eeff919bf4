"""The safety check: rules, not a model. Real services have more of them; each gives a low-cardinality reason."""

import re

_INJECTION = re.compile(
    r"\b(?:ignore|disregard|forget)\b.{0,30}\b(?:previous|above|prior|earlier|your)\b.{0,20}\b(?:instructions?|rules?|prompt)"
    r"|\b(?:reveal|print|repeat|show)\b.{0,20}\b(?:system prompt|hidden instructions)",
    re.IGNORECASE | re.DOTALL,
)
_NUMBER = re.compile(r"\b(?:\d[ -]?){13,19}\b")
_MALWARE = re.compile(r"\b(?:keylogger|ransomware|botnet|rootkit|credential stealer)\b", re.IGNORECASE)


def check(text: str) -> str | None:
    """Why `text` must be blocked: prompt_injection, payment_card or malware; None when nothing is wrong with it."""
    if _INJECTION.search(text):
        return "prompt_injection"
    if any(_luhn(match.group()) for match in _NUMBER.finditer(text)):
        return "payment_card"
    if _MALWARE.search(text):
        return "malware"
    return None


def _luhn(text: str) -> bool:
    """Whether the digits of `text` carry a valid check digit (ISO/IEC 7812-1)."""
    digits = [int(character) for character in text if character.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
