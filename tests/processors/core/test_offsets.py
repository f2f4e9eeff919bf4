"""What a commit says beside its offset."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spanloom_processors.core.drops import METADATA_BYTES
from spanloom_processors.core.offsets import Pricing, SafePoint, decode, drops, encode, pricing


@given(
    st.integers(0, 2**63),
    st.integers(-(2**63), 2**63),
    st.integers(0, 2**63),
    st.from_regex(r"[\w-]{22}", fullmatch=True),
)
def test_a_safe_point_survives_the_commit(offset, frontier, log_clock, topic_id):
    point = SafePoint(offset, frontier, log_clock, topic_id)
    assert decode(offset, encode(point)) == point
    assert len(encode(point)) < 4096
    for said in ("", "abc:7,d-_:8"):
        assert decode(offset, encode(point, drops=said)) == point
        assert drops(encode(point, drops=said)) == said
    assert len(encode(point, Pricing("0" * 64, 10**6), "x" * METADATA_BYTES)) < 4096


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        "",
        "1",
        "2 1 1 topic",
        "1 x 1 topic",
        "1 1 1.5 topic",
        "1 1 1 to pic",
        "1 1 1 t drops=a:1 x",
        "\x00",
        "1 1 1 ",
    ],
)
def test_metadata_of_another_hand_is_no_metadata(metadata):
    assert decode(7, metadata) is None


def test_a_commit_says_by_which_book_all_before_it_was_priced():
    point, book = SafePoint(7, 1, 2, "topic"), Pricing("a1b2", 3)
    assert decode(7, encode(point, book)) == point
    assert pricing(encode(point, book)) == book
    assert pricing(encode(point, book, "abc:7")) == book
    assert drops(encode(point, book, "abc:7")) == "abc:7"
    assert pricing(encode(point)) is None
    assert (book.under("a1b2"), book.under("c3")) == (book, Pricing("c3", 4))
