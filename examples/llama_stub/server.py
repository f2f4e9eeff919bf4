"""The server: `/v1/chat/completions`, streamed or whole, `/v1/models`, and `/admin/pace` to make it slower."""

import asyncio
import json
import os
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from llama_stub.completion import Completion, complete, prompt_text, prompt_tokens
from llama_stub.prefix_cache import PrefixCache
from llama_stub.tokens import tokenize

MODELS = ("gpt-4o-mini", "gpt-4o")


@dataclass
class Pace:
    """How fast the stub speaks."""

    ttft_ms: float = 60.0
    token_ms: float = 8.0


def create_app(pace: Pace | None = None) -> Starlette:
    """The application; its pace comes from `LLAMA_STUB_TTFT_MS` and `LLAMA_STUB_TOKEN_MS` unless given."""
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", _completions, methods=["POST"]),
            Route("/v1/models", _models),
            Route("/admin/pace", _set_pace, methods=["PUT"]),
        ]
    )
    app.state.pace = pace or _pace_from_environment()
    app.state.cache = PrefixCache()
    return app


def _pace_from_environment() -> Pace:
    return Pace(
        float(os.environ.get("LLAMA_STUB_TTFT_MS", Pace.ttft_ms)),
        float(os.environ.get("LLAMA_STUB_TOKEN_MS", Pace.token_ms)),
    )


async def _completions(request: Request) -> Response:
    asked = await request.json()
    model, messages = asked.get("model"), asked.get("messages")
    if model not in MODELS:
        return _error(404, f"The model {model!r} does not exist; there are {', '.join(MODELS)}.", "model_not_found")
    if not messages:
        return _error(400, "'messages' must hold at least one message.", "invalid_request_error")
    cached = request.app.state.cache.cached(model, tokenize(prompt_text(messages)))
    completion = complete(messages, int(asked.get("max_tokens") or 512))
    usage = _usage(messages, completion, cached)
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}
    pace: Pace = request.app.state.pace
    if asked.get("stream"):
        with_usage = bool((asked.get("stream_options") or {}).get("include_usage"))
        return StreamingResponse(
            _stream(head, completion, usage if with_usage else None, pace), media_type="text/event-stream"
        )
    await asyncio.sleep((pace.ttft_ms + pace.token_ms * len(completion.tokens)) / 1000)
    message = {"role": "assistant", "content": "".join(completion.tokens)}
    choice = {"index": 0, "message": message, "finish_reason": completion.finish_reason}
    return JSONResponse({**head, "object": "chat.completion", "choices": [choice], "usage": usage})


def _usage(messages: list[dict[str, str]], completion: Completion, cached: int) -> dict[str, Any]:
    asked, answered = prompt_tokens(messages), len(completion.tokens)
    return {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": asked + answered,
        "prompt_tokens_details": {"cached_tokens": min(cached, asked)},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


async def _stream(
    head: dict[str, Any], completion: Completion, usage: dict[str, Any] | None, pace: Pace
) -> AsyncIterator[str]:
    await asyncio.sleep(pace.ttft_ms / 1000)
    yield _chunk(head, {"role": "assistant", "content": ""})
    for token in completion.tokens:
        yield _chunk(head, {"content": token})
        await asyncio.sleep(pace.token_ms / 1000)
    yield _chunk(head, {}, completion.finish_reason)
    if usage:
        yield _event({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
    yield "data: [DONE]\n\n"


def _chunk(head: dict[str, Any], delta: dict[str, str], finish_reason: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return _event({**head, "object": "chat.completion.chunk", "choices": [choice]})


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, separators=(',', ':'))}\n\n"


async def _models(_: Request) -> Response:
    return JSONResponse({"object": "list", "data": [{"id": model, "object": "model"} for model in MODELS]})


async def _set_pace(request: Request) -> Response:
    """Takes `ttft_ms` and `token_ms`, either or both."""
    pace: Pace = request.app.state.pace
    for name, value in (await request.json()).items():
        if name not in ("ttft_ms", "token_ms") or not 0 <= float(value) <= 60_000:
            return _error(400, f"{name} = {value!r}: expected ttft_ms or token_ms between 0 and 60000", "invalid_pace")
        setattr(pace, name, float(value))
    return JSONResponse(asdict(pace))


def _error(status: int, message: str, code: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error", "code": code}}, status)
