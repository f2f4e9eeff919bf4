import asyncio
import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_stub.prefix_cache import PrefixCache
from llama_stub.server import Pace, create_app
from llama_stub.tokens import count, tokenize

ASKED = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Sources:\n[1] json.dumps\nSerialize obj.\n"}],
}


def call(*requests: tuple[str, str, dict]) -> list[httpx.Response]:
    async def run() -> list[httpx.Response]:
        transport = httpx.ASGITransport(create_app(Pace(0, 0)))
        async with httpx.AsyncClient(transport=transport, base_url="http://stub") as client:
            return [await client.request(method, path, json=body) for method, path, body in requests]

    return asyncio.run(run())


def complete(**asked) -> dict:
    (answer,) = call(("POST", "/v1/chat/completions", ASKED | asked))
    return answer.json()


def stream(**asked) -> list[dict]:
    (answer,) = call(("POST", "/v1/chat/completions", ASKED | {"stream": True} | asked))
    *events, done = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert done == "[DONE]"
    return [json.loads(event) for event in events]


@given(st.text())
def test_the_tokens_of_a_text_are_the_text(text):
    assert "".join(tokenize(text)) == text


def test_the_tokens_billed_are_the_tokens_streamed():
    *chunks, last = stream(stream_options={"include_usage": True})
    said = [chunk["choices"][0]["delta"]["content"] for chunk in chunks if chunk["choices"][0]["delta"].get("content")]
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == len(said) == count("".join(said))
    assert last["usage"]["prompt_tokens"] == count(ASKED["messages"][0]["content"]) + 4
    assert last["usage"]["total_tokens"] == last["usage"]["prompt_tokens"] + last["usage"]["completion_tokens"]


def test_streamed_and_whole_answers_are_the_same():
    whole = complete()["choices"][0]["message"]["content"]
    chunks = stream()
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == whole
    assert "[1]" in whole
    assert not any("usage" in chunk for chunk in chunks), "usage is sent only when it is asked for"


def test_max_tokens_cuts_the_answer_and_says_so():
    answer = complete(max_tokens=3)
    assert answer["usage"]["completion_tokens"] == 3
    assert answer["choices"][0]["finish_reason"] == "length"


def test_a_long_prefix_seen_before_is_billed_as_cached():
    long = [{"role": "system", "content": "word " * 1500}, {"role": "user", "content": "one"}]
    other = [long[0], {"role": "user", "content": "two"}]
    first, second = call(*(("POST", "/v1/chat/completions", ASKED | {"messages": one}) for one in (long, other)))
    assert first.json()["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    cached = second.json()["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert 1024 <= cached <= 1501
    assert cached % 128 == 0


def test_a_short_prefix_is_never_cached_and_models_share_nothing():
    cache, short, long = PrefixCache(), ["a"] * 1000, ["a"] * 1200
    assert [cache.cached("m", short), cache.cached("m", short)] == [0, 0]
    assert [cache.cached("m", long), cache.cached("n", long), cache.cached("m", long)] == [0, 0, 1152]


def test_an_unknown_model_is_refused_as_openai_does():
    (answer,) = call(("POST", "/v1/chat/completions", ASKED | {"model": "gpt-99"}))
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("pace", [{"ttft_ms": -1}, {"speed": 3}])
def test_an_impossible_pace_is_refused(pace):
    (answer,) = call(("PUT", "/admin/pace", pace))
    assert answer.status_code == 400


def test_the_pace_can_be_set():
    (answer,) = call(("PUT", "/admin/pace", {"ttft_ms": 5}))
    assert answer.json() == {"ttft_ms": 5.0, "token_ms": 0}
