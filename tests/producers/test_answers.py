from typing import Any

import pytest
from spanloom.answers import Answer, estimated

OPENAI_USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "prompt_tokens_details": {"cached_tokens": 40},
    "completion_tokens_details": {"reasoning_tokens": 20},
}
RESPONSES_USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 40},
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 20},
}
ANTHROPIC_USAGE = {"input_tokens": 100, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 10}
OPENAI, ANTHROPIC = (60, 40, None, 30, 20), (100, 40, 10, 50, None)


def chat(delta: dict[str, Any] | None = None, reason: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    return {"id": "chatcmpl-1", "model": "gpt-4o-2026", "choices": choices, **more}


def message(**more: Any) -> dict[str, Any]:
    return {"id": "msg_1", "type": "message", "model": "claude-2026", **more}


CHAT = [
    chat({"role": "assistant", "content": ""}),
    chat({"content": "The "}),
    chat({"content": "answer"}),
    chat({}, "stop"),
    chat(usage=OPENAI_USAGE, service_tier="flex"),
]
COMPLETIONS = [
    {"id": "cmpl-1", "model": "gpt-4o-2026", "choices": [{"text": "The answer", "finish_reason": None}]},
    {"id": "cmpl-1", "model": "gpt-4o-2026", "choices": [{"text": "", "finish_reason": "stop"}], "usage": OPENAI_USAGE},
]
RESPONSES = [
    {"type": "response.created", "response": {"id": "resp_1", "model": "gpt-4o-2026", "status": "in_progress"}},
    {"type": "response.output_text.delta", "delta": "The answer"},
    {"type": "response.output_text.done", "text": "The answer"},
    {
        "type": "response.completed",
        "response": {"id": "resp_1", "model": "gpt-4o-2026", "status": "completed", "usage": RESPONSES_USAGE},
    },
]
MESSAGES = [
    {"type": "message_start", "message": message(usage={**ANTHROPIC_USAGE, "output_tokens": 1}, stop_reason=None)},
    {"type": "content_block_start", "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "The answer"}},
    {"type": "content_block_stop"},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 50}},
    {"type": "message_stop"},
]
WHOLE_CHAT = {
    "id": "chatcmpl-1",
    "model": "gpt-4o-2026",
    "choices": [{"message": {"content": "The answer"}, "finish_reason": "stop"}],
    "usage": OPENAI_USAGE,
}
WHOLE_MESSAGE = message(
    content=[{"type": "text", "text": "The answer"}],
    stop_reason="end_turn",
    usage={**ANTHROPIC_USAGE, "output_tokens": 50},
)
WHOLE_RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "model": "gpt-4o-2026",
    "status": "incomplete",
    "incomplete_details": {"reason": "max_output_tokens"},
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "The answer"}]}],
    "usage": RESPONSES_USAGE,
}


def read(*chunks: object) -> Answer:
    answer = Answer()
    for chunk in chunks:
        answer.read(chunk)
    return answer


@pytest.mark.parametrize(
    ("chunks", "id", "tokens", "reason"),
    [
        (CHAT, "chatcmpl-1", OPENAI, "stop"),
        (COMPLETIONS, "cmpl-1", OPENAI, "stop"),
        (RESPONSES, "resp_1", OPENAI, "completed"),
        (MESSAGES, "msg_1", ANTHROPIC, "end_turn"),
        ([WHOLE_CHAT], "chatcmpl-1", OPENAI, "stop"),
        ([WHOLE_MESSAGE], "msg_1", ANTHROPIC, "end_turn"),
        ([WHOLE_RESPONSE], "resp_1", OPENAI, "max_output_tokens"),
    ],
)
def test_every_form_of_an_answer_says_who_answered_and_what_it_took(
    chunks: list[dict[str, Any]], id: str, tokens: tuple[int | None, ...], reason: str
) -> None:
    answer = read(*chunks)
    assert (answer.id, answer.model) == (id, "claude-2026" if id == "msg_1" else "gpt-4o-2026")
    assert tuple(answer.tokens) == tokens
    assert answer.reasons == (reason,)
    assert answer.size == len("The answer")


def test_objects_say_the_same_as_mappings_and_no_property_of_theirs_is_asked() -> None:
    class Model:
        def __init__(self, said: dict[str, Any]) -> None:
            self.__dict__.update({name: made(value) for name, value in said.items()})

        @property
        def response(self) -> object:
            raise AssertionError("the host's code")

    def made(said: Any) -> Any:
        return Model(said) if isinstance(said, dict) else [*map(made, said)] if isinstance(said, list) else said

    first, then = read(*CHAT), read(*map(made, CHAT))
    assert (then.id, then.tokens, then.reasons, then.size) == (first.id, first.tokens, first.reasons, first.size)


def test_the_first_piece_is_the_first_thing_that_the_model_wrote() -> None:
    call = {"id": "call_1", "function": {"name": "clock", "arguments": ""}}
    written = [
        chat({"reasoning_content": "hm"}),
        chat({"tool_calls": [call]}),
        chat({"refusal": "no"}),
        {"type": "content_block_start", "content_block": {"type": "tool_use", "id": "toolu_1", "name": "clock"}},
        {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{"}},
        {"type": "response.reasoning_summary_text.delta", "delta": "hm"},
        {"type": "response.function_call_arguments.delta", "delta": "{"},
    ]
    silent = [
        CHAT[0],
        CHAT[3],
        CHAT[4],
        *MESSAGES[:2],
        *MESSAGES[3:],
        RESPONSES[0],
        *RESPONSES[2:],
        {},
        None,
        "text",
        7,
    ]
    assert [read(chunk).pieces for chunk in written] == [1] * len(written)
    assert [read(chunk).pieces for chunk in silent] == [0] * len(silent)


def test_without_a_report_the_text_tells_about_how_many_tokens_and_never_none() -> None:
    assert int(read(chat({"content": "x" * 400}))) == 100
    assert int(read(*[chat({"content": "."})] * 7)) == 7
    assert int(read(chat({"content": "日本語"}))) == 3
    assert str(read(chat({"content": "x"}))) == "1"


def test_what_anthropic_says_of_the_output_before_it_is_there_does_not_count() -> None:
    assert read(MESSAGES[0]).tokens.output is None
    assert read(MESSAGES[0]).tokens.input == 100


def test_numbers_that_are_none_are_not_counted() -> None:
    usage = {"prompt_tokens": "7", "completion_tokens": -1, "prompt_tokens_details": {"cached_tokens": True}}
    assert read(chat(usage=usage)).counts == {}


def test_an_error_in_the_middle_of_a_stream_is_told() -> None:
    failed = {
        "type": "response.failed",
        "response": {"id": "r", "error": {"code": "server_error", "message": "private"}},
    }
    assert (read(failed).error, read(failed).over) == ("server_error", True)


def test_a_request_is_estimated_by_its_texts_and_not_by_its_images() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9999}}
    asked = {"model": "m" * 99, "messages": [{"role": "user", "content": [{"type": "text", "text": "x" * 80}, image]}]}
    assert estimated(asked) == (len("user" + "text" + "image_url") + 80 + 3) // 4
    source = {"type": "image", "source": {"type": "base64", "data": "A" * 9999}}
    assert estimated({"system": "x" * 8, "messages": [{"content": [source]}]}) == (8 + len("imagebase64") + 3) // 4
    assert (estimated({"model": "m"}), estimated({})) == (None, None)
    deep: Any = []
    deep.append(deep)
    assert estimated({"messages": deep}) is None
