"""The chat API: checks what people ask, lets the agent answer, checks the answer, and takes their ratings.

What it tells Spanloom: who asked, a span for each step, what the safety check blocked and why, and what people think.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import spanloom
from spanloom import span, trace_llm
from spanloom.asgi import TraceMiddleware
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rag_service import safety

AGENT = os.environ.get("RAG_AGENT_URL", "http://127.0.0.1:8092")
REFUSAL = "I can help with questions about Python's standard library only."


def create_app(agent: httpx.AsyncBaseTransport | None = None) -> Starlette:
    """The chat API's application; `agent` is how to reach the agent, over the network unless given."""
    spanloom.configure(service="rag-chat", version="1.0")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        hooks = {"request": [_propagate]}
        async with httpx.AsyncClient(timeout=30, transport=agent, event_hooks=hooks) as app.state.client:
            yield
        spanloom.shutdown()

    app = Starlette(
        routes=[
            Route("/chat", chat, methods=["POST"]),
            Route("/feedback", feedback, methods=["POST"]),
        ],
        lifespan=lifespan,
    )
    app.add_middleware(TraceMiddleware)
    return app


async def _propagate(request: httpx.Request) -> None:
    """Every call to another service carries the trace on."""
    spanloom.inject(request.headers)


async def chat(request: Request) -> Response:
    asked, who = await request.json(), request.headers
    entry = spanloom.current_span()
    assert entry is not None  # the middleware made it
    entry.set_context(user=who.get("x-user"), session_id=who.get("x-session"), tenant=who.get("x-tenant"))

    question = _normalise(asked["question"])
    if _screen("check question", question):
        return JSONResponse({"trace_id": entry.trace_id, "blocked": True, "answer": REFUSAL, "citations": []})
    found = await _ask_agent(request, question, asked.get("expected"))
    blocked = _screen("check answer", found["answer"])
    answer = REFUSAL if blocked else _format(found["answer"], found["citations"])
    return JSONResponse(
        {"trace_id": entry.trace_id, "blocked": bool(blocked), "answer": answer, "citations": found["citations"]}
    )


@trace_llm("normalise", event_type="preproc")
def _normalise(question: str) -> str:
    return " ".join(question.split())[:2000]


def _screen(name: str, text: str) -> str | None:
    """Why `text` must be blocked, if it must."""
    with span(name, event_type="safety") as step:
        reason = safety.check(text)
        if reason:
            step.block(reason)
        return reason


async def _ask_agent(request: Request, question: str, expected: str | None) -> dict[str, Any]:
    with span("ask agent", event_type="tool") as step:
        step.set_tool("docs_agent")
        tenant = {"X-Tenant": request.headers.get("x-tenant", "")}
        asked = {"question": question, "expected": expected}
        answer = await request.app.state.client.post(f"{AGENT}/answer", json=asked, headers=tenant)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found


@trace_llm("format answer", event_type="postproc")
def _format(answer: str, citations: list[str]) -> str:
    sources = "".join(f"\n  {number}. {name}" for number, name in enumerate(citations, 1))
    return f"{answer}\n\nSources:{sources}" if sources else answer


async def feedback(request: Request) -> Response:
    said = await request.json()
    spanloom.feedback(said["trace_id"], thumbs=said["thumbs"] > 0)
    return JSONResponse({"taken": True}, 202)
