"""A server on this machine that answers as OpenAI's and Anthropic's HTTP interfaces do, with known token counts.

What it answers depends on the model asked for: `slow` streams without end, `limited` is refused with 429, `filtered` is
stopped by a content filter, `tools` calls a tool, `broken` fails in the middle of a stream, all others answer.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Thread
from typing import Any

OPENAI_USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 40},
    "completion_tokens_details": {"reasoning_tokens": 20},
}
"""Cached tokens are part of the prompt, reasoning of the completion: input 60, read 40, output 30, reasoning 20."""
RESPONSE_USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 40},
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 150,
}
"""The same, as OpenAI's newer interface says it."""
ANTHROPIC_USAGE = {
    "input_tokens": 100,
    "cache_read_input_tokens": 40,
    "cache_creation_input_tokens": 10,
    "output_tokens": 50,
}
"""Caches are beside the input: input 100, read 40, write 10, output 50."""
WORDS = ("The ", "answer ", "is ", "42.")


@contextmanager
def serving() -> Iterator[str]:
    """Serve on a free port; give the address without a path."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer by path and model."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        anthropic = self.path.endswith("/messages")
        if asked["model"] == "limited":
            kind = "rate_limit_error" if anthropic else "rate_limit_exceeded"
            self._json(429, {"type": "error", "error": {"type": kind, "code": kind, "message": "too many"}})
        elif self.path.endswith("/embeddings"):
            self._json(200, embeddings(asked))
        elif self.path.endswith("/responses"):
            if asked.get("stream"):
                self._stream(response_events(asked))
            else:
                self._json(200, response(asked))
        elif asked.get("stream"):
            self._stream(anthropic_events(asked) if anthropic else openai_chunks(asked))
        else:
            self._json(200, anthropic_message(asked) if anthropic else openai_completion(asked))

    def _json(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, lines: Iterator[str]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        with suppress(OSError):  # the client has left
            for line in lines:
                self.wfile.write(f"{line}\n\n".encode())
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def embeddings(asked: dict[str, Any]) -> dict[str, Any]:
    """Answer OpenAI's embeddings.create."""
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}],
        "model": asked["model"],
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }


def openai_completion(asked: dict[str, Any]) -> dict[str, Any]:
    """Answer OpenAI's chat.completions.create."""
    message: dict[str, Any] = {"role": "assistant", "content": "".join(WORDS)}
    reason = {"filtered": "content_filter", "tools": "tool_calls"}.get(asked["model"], "stop")
    if asked["model"] == "tools":
        call = {"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": '{"zone": "UTC"}'}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": f"{asked['model']}-2026",
        "service_tier": "default",
        "system_fingerprint": "fp_1",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": OPENAI_USAGE,
    }


def openai_chunks(asked: dict[str, Any]) -> Iterator[str]:
    """Stream the same."""

    def chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> str:
        choices = [] if more else [{"index": 0, "delta": delta, "finish_reason": reason}]
        head = {"id": "chatcmpl-2", "object": "chat.completion.chunk", "created": 1, "model": f"{asked['model']}-2026"}
        return "data: " + json.dumps({**head, "choices": choices, "usage": None, **more})

    yield chunk({"role": "assistant", "content": ""})
    while asked["model"] == "slow":
        yield chunk({"content": "and "})
    if asked["model"] == "tools":
        begun = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "clock", "arguments": ""}}
        yield chunk({"tool_calls": [begun]})
        for part in ('{"zone": ', '"UTC"}'):
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
    else:
        for word in WORDS:
            yield chunk({"content": word})
            if asked["model"] == "broken":
                yield "data: " + json.dumps({"error": {"type": "server_error", "code": "x", "message": "too many"}})
                return
    yield chunk({}, "tool_calls" if asked["model"] == "tools" else "stop")
    if (asked.get("stream_options") or {}).get("include_usage"):
        yield chunk({}, usage=OPENAI_USAGE)
    yield "data: [DONE]"


def response(asked: dict[str, Any], status: str = "completed") -> dict[str, Any]:
    """Answer OpenAI's responses.create."""
    text = {"type": "output_text", "text": "".join(WORDS), "annotations": []}
    message = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [text]}
    done = status == "completed"
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": f"{asked['model']}-2026",
        "output": [message] if done else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "service_tier": "default",
        "usage": RESPONSE_USAGE if done else None,
    }


def response_events(asked: dict[str, Any]) -> Iterator[str]:
    """Stream the same."""
    number = count()

    def event(kind: str, **more: Any) -> str:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': next(number), **more})}"

    def words(text: str) -> str:
        return event(
            "response.output_text.delta", item_id="msg_1", output_index=0, content_index=0, delta=text, logprobs=[]
        )

    yield event("response.created", response=response(asked, "in_progress"))
    while asked["model"] == "slow":
        yield words("and ")
    for word in WORDS:
        yield words(word)
    yield event("response.completed", response=response(asked))


def anthropic_message(asked: dict[str, Any]) -> dict[str, Any]:
    """Answer Anthropic's messages.create."""
    content: list[dict[str, Any]] = [{"type": "text", "text": "".join(WORDS)}]
    reason = {"filtered": "refusal", "tools": "tool_use"}.get(asked["model"], "end_turn")
    if asked["model"] == "tools":
        content = [{"type": "tool_use", "id": "toolu_1", "name": "clock", "input": {"zone": "UTC"}}]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": f"{asked['model']}-2026",
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": ANTHROPIC_USAGE,
    }


def anthropic_events(asked: dict[str, Any]) -> Iterator[str]:
    """Stream the same."""

    def event(kind: str, **more: Any) -> str:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}"

    def words(text: str) -> str:
        return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    begun = {**anthropic_message(asked), "id": "msg_2", "content": [], "stop_reason": None}
    yield event("message_start", message={**begun, "usage": {**ANTHROPIC_USAGE, "output_tokens": 1}})
    if asked["model"] == "tools":
        called = {"type": "tool_use", "id": "toolu_1", "name": "clock", "input": {}}
        yield event("content_block_start", index=0, content_block=called)
        for part in ('{"zone": ', '"UTC"}'):
            yield event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": part})
    else:
        yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        while asked["model"] == "slow":
            yield words("and ")
        for word in WORDS:
            yield words(word)
            if asked["model"] == "broken":
                said = json.dumps({"type": "error", "error": {"type": "overloaded_error", "message": "too many"}})
                yield f"event: error\ndata: {said}"
                return
    yield event("content_block_stop", index=0)
    reason = "tool_use" if asked["model"] == "tools" else "end_turn"
    yield event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage={"output_tokens": 50})
    yield event("message_stop")
