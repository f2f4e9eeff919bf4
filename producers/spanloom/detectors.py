"""Finds in a text what has the structure of an e-mail address, a phone number, a card, an IBAN, or a key or password.

Needs google-re2 (the extra `payloads`): its expressions take linear time whatever the text, and so does all else here.
Pure. Names, and addresses in prose, have no structure and are not found.
"""

from collections.abc import Iterable, Iterator
from string import ascii_letters, digits
from typing import Any, NamedTuple

import re2

_EMAIL = re2.compile(r"[\p{L}\p{N}._%+'\-]+@[\p{L}\p{N}\-]+(?:\.[\p{L}\p{N}\-]+)+")
_NUMBER = re2.compile(r"\+?\(?\d(?:[ .()/\-\x{a0}\x{2011}\x{2013}]{0,3}\d)+")
_IBAN = re2.compile(r"\b[A-Za-z]{2}\d{2}")
_SECRETS = [  # the secret is what the pattern's group holds, or all of it where there is no group
    re2.compile(pattern)
    for pattern in (
        r"\bsk-[A-Za-z0-9_\-]{16,}",  # OpenAI, Anthropic and their like
        r"\b[prs]k_(?:live|test)_[A-Za-z0-9]{10,}",  # Stripe
        r"\b(?:gh[opsur]_|github_pat_|glpat-|hf_|npm_|pypi-)[A-Za-z0-9_\-]{16,}",
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}",  # AWS
        r"\bAIza[A-Za-z0-9_\-]{30,}",  # Google
        r"\bxox[a-z]-[A-Za-z0-9\-]{10,}",  # Slack
        r"\beyJ[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*){0,2}",  # a JSON web token
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
        r"(?i)\b(?:bearer|basic)\s+([a-z0-9._~+/=\-]{16,})",
        r"[a-z]://[^/\s:@]*:([^/\s@]+)@",  # in a URL
        r"(?i)(?:passwor[dt]|passwd|passphrase|pwd|secret|token|api[_\- ]?key|access[_\- ]?key|private[_\- ]?key)"
        r"""["'`]?\s*[:=]\s*["'`]?([^\s"'`,;]{4,})""",
    )
]

_CARD_DIGITS = range(13, 20)
_CARD_GROUPS = 6
_PHONE_DIGITS = range(8, 16)
_IBAN_LENGTHS = {
    country: int(length)
    for length, *countries in map(
        str.split,
        (
            *("15 NO", "16 BE", "18 DK FI FK FO GL NL SD", "19 MK SI", "20 AT BA EE KZ LT LU MN XK", "21 CH HR LI LV"),
            *("22 BG BH CR DE GB GE IE ME RS VA", "23 AE GI IL IQ OM SO TL", "24 AD CZ ES MD PK RO SA SE SK TN VG"),
            *("25 LY PT ST", "26 IS TR", "27 BI DJ FR GR IT MC MR SM", "28 AL AZ BY CY DO EG GT HN HU LB NI PL"),
            *("29 BR PS QA UA", "30 JO KW MU YE", "31 MT SC", "32 LC", "33 RU"),
        ),
    )
    for country in countries
}
"""Characters of an IBAN by country: SWIFT's registry."""
_VALUES = {character: str(int(character, 36)) for character in digits + ascii_letters}
"""What a character counts in an IBAN's check."""


class Finding(NamedTuple):
    """Something found, from `start` to before `end`."""

    start: int
    end: int
    what: str


class Group(NamedTuple):
    """Digits that stand together."""

    start: int
    end: int
    digits: str


def sanitize(text: str, limit: int) -> str:
    """Return the first `limit` characters of `text` with every finding replaced by what it is: `[email]`.

    What begins before the limit is replaced whole. Give more text than the limit, that it may be seen whole.
    """
    pieces: list[str] = []
    at = 0
    for finding in _apart(find(text)):
        if finding.start >= limit:
            break
        pieces += (text[at : finding.start], f"[{finding.what}]")
        at = finding.end
    return "".join((*pieces, text[at:limit]))


def find(text: str) -> list[Finding]:
    """Return all findings by their start; they may overlap."""
    found = [Finding(start, end, "email") for start, end in _spans(_EMAIL, text)]
    for secret in _SECRETS:
        found += (Finding(start, end, "secret") for start, end in _spans(secret, text))
    for start, end in _spans(_NUMBER, text):
        groups = list(_groups(text, start, end))
        cards = list(_cards(groups))
        found += cards
        for run in _outside(groups, cards):
            found += _phones(text, run)
    for start, _ in _spans(_IBAN, text):
        end = _iban_end(text, start)
        if end:
            found.append(Finding(start, end, "iban"))
    return sorted(found)


def _spans(pattern: Any, text: str) -> Iterator[tuple[int, int]]:
    """Return where the pattern's group, or all of it where it has none, is found."""
    return (match.span(pattern.groups) for match in pattern.finditer(text))


def _apart(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Join findings that overlap; the first gives the name."""
    last: Finding | None = None
    for finding in findings:
        if last is not None and finding.start < last.end:
            last = last._replace(end=max(last.end, finding.end))
            continue
        if last is not None:
            yield last
        last = finding
    if last is not None:
        yield last


def _groups(text: str, start: int, end: int) -> Iterator[Group]:
    at = start
    while at < end:
        if not text[at].isdecimal():
            at += 1
            continue
        begun = at
        while at < end and text[at].isdecimal():
            at += 1
        yield Group(begun, at, text[begun:at])


def _cards(groups: list[Group]) -> Iterator[Finding]:
    """Cards are whole groups that begin with 2 to 6, as all payment networks' do, and obey Luhn's rule."""
    for first, group in enumerate(groups):
        if group.digits[0] not in "23456":
            continue
        digits = ""
        for last in groups[first : first + _CARD_GROUPS]:
            digits += last.digits
            if len(digits) >= _CARD_DIGITS.stop:
                break
            if len(digits) in _CARD_DIGITS and _luhn(digits):
                yield Finding(group.start, last.end, "card")


def _outside(groups: list[Group], cards: list[Finding]) -> Iterator[list[Group]]:
    """Return the groups before, between and behind cards."""
    run: list[Group] = []
    taken = iter(_apart(sorted(cards)))
    card = next(taken, None)
    for group in groups:
        while card is not None and card.end <= group.start:
            card = next(taken, None)
        if card is not None and card.start <= group.start:
            yield run
            run = []
        else:
            run.append(group)
    yield run


def _luhn(digits: str) -> bool:
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def _phones(text: str, groups: list[Group]) -> Iterator[Finding]:
    """Phone numbers begin with + or with 0 and a digit, or are grouped 3, 3, 4; they stand alone, not in a word."""
    for first, group in enumerate(groups):
        before = text[max(0, group.start - 2) : group.start]
        if before[-1:].isalnum() or (before[:1].isdecimal() and before[1:] == ":"):  # in a word, in a time of day
            continue
        plus = before.strip("(")[-1:] == "+"
        if not (plus or (group.digits[0] == "0" and len(group.digits) > 1)):
            american = [one.digits for one in groups[first : first + 3]]
            if [*map(len, american)] == [3, 3, 4] and american[0][0] > "1" and american[1][0] > "1":
                yield Finding(group.start, groups[first + 2].end, "phone")
            continue
        count, end = 0, 0
        for last in groups[first : first + _PHONE_DIGITS.stop]:
            count += len(last.digits)
            if count >= _PHONE_DIGITS.stop:
                break
            if count in _PHONE_DIGITS and not text[last.end : last.end + 1].isalpha():
                end = last.end
        if end:
            yield Finding(group.start - plus, end, "phone")


def _iban_end(text: str, start: int) -> int:
    """Return where the IBAN that starts here ends, 0 if there is none. In groups only in capitals, as prose is not."""
    capitals = text[start : start + 2].isupper()
    length = _IBAN_LENGTHS.get(text[start : start + 2].upper(), 0)
    found, at = text[start : start + 4], start + 4
    while len(found) < length and at < len(text):
        if capitals and text[at] in " -":
            at += 1
        character = text[at : at + 1]
        if character not in _VALUES or (character.isalpha() and character.isupper() != capitals):
            return 0
        found, at = found + character, at + 1
    valid = len(found) == length and int("".join(_VALUES[one] for one in found[4:] + found[:4])) % 97 == 1
    return at if valid else 0
