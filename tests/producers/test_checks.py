from typing import Any

import pytest
import spanloom
from spanloom.checks import refuses
from spanloom.testing import recording


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I\u2019m sorry, but I can\u2019t assist with this request.",
        "As an AI language model, I am unable to give medical advice.",
        "Es tut mir leid, dabei kann ich nicht helfen.",
        "Lo siento, pero no puedo ayudarte con eso.",
    ],
)
def test_an_answer_that_opens_as_refusals_do_is_one(answer: str) -> None:
    assert refuses(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Use heapq.nsmallest: it can help where a sort is too slow.",
        "x" * 240 + "I can't help with that.",
        "Nobody can answer all questions, but this one is easy: 42.",
    ],
)
def test_any_other_answer_is_none(answer: str) -> None:
    assert not refuses(answer)


@pytest.mark.parametrize(
    ("answer", "bounds", "passes", "scores"),
    [
        ("forty-two", {}, True, {"refusal": 0}),
        ("forty-two", {"least": 2, "most": 10}, True, {"refusal": 0, "length_ok": 1}),
        ("forty-two", {"most": 5}, False, {"refusal": 0, "length_ok": 0}),
        ("   \n", {"least": 1}, False, {"refusal": 0, "length_ok": 0}),
        ("I cannot help with that.", {"least": 1}, False, {"refusal": 1, "length_ok": 1}),
    ],
)
def test_a_check_is_two_scores_and_a_verdict(
    answer: str, bounds: dict[str, int], passes: bool, scores: dict[str, float]
) -> None:
    def found(span: dict[str, Any]) -> dict[str, float]:
        return {score["name"]: score["value"] for score in span["scores"]}

    with recording() as recorded:
        with spanloom.span("call", event_type="llm") as call:
            assert spanloom.check_answer(answer, **bounds) == passes
        with spanloom.span("later"):
            spanloom.check_answer(answer, **bounds, span=call)  # it is over
        assert spanloom.check_answer(answer, **bounds) == passes
    assert found(recorded.named("call")) == scores
    assert found(recorded.named("later")) == {}
    assert answer not in str(recorded.spans) or not answer.strip()
