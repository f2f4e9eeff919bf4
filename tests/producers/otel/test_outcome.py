"""Where dialects say why a model stopped, and that something was blocked."""

import json

from tests.producers.otel.test_mapping import START, kept, ours

CHAT = {"gen_ai.operation.name": "chat"}


def test_why_a_model_stopped_is_also_read_from_its_messages_and_choices() -> None:
    messages = [{"role": "assistant", "parts": [{"type": "text", "content": "secret"}], "finish_reason": "length"}]
    span = ours({**CHAT, "gen_ai.output.messages": json.dumps(messages)})
    assert span["llm"]["finish_reasons"] == ["length"]
    assert "secret" not in json.dumps(span)
    filtered = ours({**CHAT, "gen_ai.output.messages": json.dumps([{"finish_reason": "content_filter"}])})
    assert filtered["block_reason"] == "content_filter"
    choices = [
        ("gen_ai.choice", START, {"finish_reason": reason, "index": n}) for n, reason in enumerate(("stop", "length"))
    ]
    assert ours(CHAT, events=choices)["llm"]["finish_reasons"] == ["stop", "length"]
    said = ours({**CHAT, "gen_ai.response.finish_reasons": ["stop"]}, events=choices)
    assert said["llm"]["finish_reasons"] == ["stop"]
    for odd in ("[1]", "{}", '[{"finish_reason": null}]', "no JSON"):
        assert ours({**CHAT, "gen_ai.output.messages": odd})["llm"] is None


def test_the_code_of_an_error_may_be_that_of_a_content_filter() -> None:
    span = ours({**CHAT, "error.type": "BadRequestError", "error.code": "content_filter"}, status="error")
    assert (span["error_type"], span["block_reason"]) == ("BadRequestError", "content_filter")
    assert ours({**CHAT, "error.code": "content_filter"})["block_reason"] is None


def test_what_an_error_or_a_guardrail_says_in_words_stays_here() -> None:
    said = {"error.message": "x", "error.stack": "x", "gen_ai.guardrail.verdict.reason": "x", "llm.prompts": ["x"]}
    span = ours(said)
    assert kept(span).keys() == {"otel.scope.name", "spanloom.withheld"}
    assert kept(span)["spanloom.withheld"] == "4"
