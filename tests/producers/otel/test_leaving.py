"""What leaves of attributes under names that nobody has seen."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spanloom.otel import leaving, withheld
from spanloom.otel.leaving import Names
from spanloom.otel.mapping import About

from tests.producers.otel.test_mapping import START, kept, ours

PROSE = "Please write to ann@example.org, she knows."


@pytest.mark.parametrize(
    "name",
    [
        *("gen_ai.future.prompt", "llm.next.messages", "ai.new.text", "acme.sdk.prompt", "question", "note.to.model"),
        *("langfuse.observation.metadata.question", "traceloop.association.properties.story", "metadata"),
    ],
)
@pytest.mark.parametrize("value", [PROSE, [PROSE], {"role": "user", "content": PROSE}, json.dumps({"text": PROSE})])
def test_a_text_under_a_name_that_nobody_has_seen_leaves_as_a_hash_and_is_counted(name: str, value: Any) -> None:
    event = ("new.event", START, {name: value})
    span = ours({name: value}, events=[event], links=[("cd" * 16, "ef" * 8, {name: value})])
    assert "ann@example.org" not in json.dumps(span)
    assert kept(span)[name].startswith("#")
    assert kept(span)["spanloom.withheld"] == "3"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        *(("order.id", "o-1234", "o-1234"), ("items", 7, "7"), ("rate", 0.5, "0.5"), ("vip", True, "true")),
        *(("app.note", PROSE, PROSE), ("http.route", "/chat/{id of it}", "/chat/{id of it}")),
        *(("zones", ["eu-1", "us-2"], '["eu-1","us-2"]'), ("k8s.note", PROSE, PROSE)),
        *(("gen_ai.agent.name", "Support agent", "Support agent"), ("gen_ai.new.mode", "fast", "fast")),
        ("langfuse.observation.metadata.status", '"completed"', '"completed"'),
    ],
)
def test_numbers_words_and_what_is_known_or_the_application_s_own_leave_as_they_are(
    name: str, value: Any, said: str
) -> None:
    span = ours({name: value})
    assert kept(span)[name] == said
    assert "spanloom.withheld" not in kept(span)


def test_an_application_says_which_names_are_its_own_and_what_is_held_back_stays_so() -> None:
    about = About(None, {}, {}, names=Names("shop., note,gen_ai."))
    said = {"shop.gift": PROSE, "note": PROSE, "notes": PROSE, "app.note": PROSE, "gen_ai.prompt": PROSE}
    span = ours(said, about=about)
    shown = {name for name, value in kept(span).items() if value == PROSE}
    assert (shown, kept(span)["spanloom.withheld"]) == ({"shop.gift", "note"}, "3")


def test_what_a_service_says_of_itself_is_kept_on_its_entry_spans() -> None:
    assert kept(ours({}, about=About(None, {"team": "Core Search"}, {}), parent=None))["team"] == "Core Search"


@given(st.text(min_size=1), st.text())
def test_no_name_that_no_table_knows_lets_a_sentence_out(name: str, words: str) -> None:
    text = f"{words} and {words}"
    names = Names()
    if names[name] is None:
        assert leaving.kept(text, None, lambda _: "#") == ("#", True)


def test_the_names_that_are_remembered_are_bounded() -> None:
    names = Names()
    for number in range(3 * leaving.KNOWN):
        names[f"a{number}"]
    assert len(names) <= leaving.KNOWN


def test_what_the_tables_know_is_known_and_what_is_held_back_is_not() -> None:
    names = Names()
    assert all(names[name] is True for name in leaving.NAMES - withheld.CONTENT)
    assert not any(names[name] for name in withheld.CONTENT)
