from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spanloom.detectors import sanitize

LONG = 8192
PLANTED = {
    "email": ["ann@example.org", "o'neil+x@mail.example.co.uk", "jörg@müller.example"],
    "phone": ["+49 (0) 171 2345678", "+4917123456789", "0171/2345678", "0049 171 2345678", "415-555-0123"],
    "card": ["4111 1111 1111 1111", "378282246310005", "5500-0000-0000-0004", "6011000990139424"],
    "iban": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "gb82west12345698765432"],
    "secret": [
        *(
            "sk-ant-api03-abcdefghijklmnop",
            "sk_live_abcdefghij0123",
            "ghp_abcdefghijklmnopqrst",
            "AKIAIOSFODNN7EXAMPLE",
        ),
        *("AIzaSyA1234567890abcdefghijklmnopqrstuv", "xoxb-1234567890-abc", "hf_abcdefghijklmnopqrst"),
        "sk_live_abcdefghij0123",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nAbc==\n-----END RSA PRIVATE KEY-----",
    ],
}
EVERY = [(text, what) for what, texts in PLANTED.items() for text in texts]


@pytest.mark.parametrize(("text", "what"), EVERY)
def test_what_has_a_known_structure_is_replaced_by_its_name(text: str, what: str) -> None:
    assert sanitize(text, LONG) == f"[{what}]"
    assert sanitize(f"see ({text}), please", LONG).replace("((", "(") == f"see ([{what}]), please"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("password: hunter2!", "password: [secret]"),
        ('"api_key": "abc-123",', '"api_key": "[secret]",'),
        ("Authorization: Bearer abcdef0123456789abcdef", "Authorization: Bearer [secret]"),
        ("postgres://ann:hunter2@db/x", "postgres://ann:[secret]@db/x"),
    ],
)
def test_a_secret_is_known_by_what_stands_before_it(text: str, left: str) -> None:
    assert sanitize(text, LONG) == left


@pytest.mark.parametrize(
    "text",
    [
        "on 2026-11-28 22:19:03.123456 it took 0.123456789 s",
        "at 1732831140123 ms from 192.168.100.200 and 10.0.112.113",
        "trace 0af7651916cd43dd8448eb211c80319c, span b7ad6b7169203331",
        "12 345 678 tokens of v1.2.3, card 4111 1111 1111 1112",
        "DE89370400440532013001 is mistyped; id10 at10 minutes past",
        "the secret of the token: it is me @home",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert sanitize(text, LONG) == text


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=60), st.sampled_from(EVERY), st.text(max_size=60))
def test_nothing_around_it_hides_what_is_planted(before: str, planted: tuple[str, str], after: str) -> None:
    text, _ = planted
    assert text not in sanitize(f"{before}\n{text}\n{after}", LONG)


def test_several_in_a_row_are_all_found() -> None:
    assert sanitize("4111 1111 1111 1111 5500-0000-0000-0004 0171 2345678", LONG) == "[card] [card] [phone]"
    assert sanitize("NR12 DE89370400440532013000 IS MINE", LONG) == "NR12 [iban] IS MINE"
    assert sanitize("4111 1111 1111 1111 12/27 123", LONG) == "[card] 12/27 123"


@pytest.mark.parametrize(("text", "what"), EVERY)
def test_what_stands_across_the_limit_is_replaced_whole(text: str, what: str) -> None:
    for seen in range(1, len(text)):
        assert sanitize("x" * 20 + " " + text + " tail", 21 + seen) == "x" * 20 + f" [{what}]"


@pytest.mark.parametrize(
    "pattern",
    *[
        [
            "4 ",
            "AA11 ",
            "a@",
            "4111 1111 1111 1111 ",
            "012 ",
            "a1",
            "-----BEGIN PRIVATE KEY-----",
            "0",
            "token=",
            "eyJ.",
            "+(",
        ]
    ],
)
def test_the_time_is_linear_in_the_text(pattern: str) -> None:
    def seconds(characters: int) -> float:
        text = (pattern * characters)[:characters]
        times = []
        for _ in range(3):
            begun = process_time()
            sanitize(text, characters)
            times.append(process_time() - begun)
        return min(times)

    assert seconds(16_000) < 40 * max(seconds(1_000), 0.0005)  # 16 times the text; a square would be 256 times
