"""The chat API of `rag_service`, instrumented by OpenTelemetry: the trace goes on to the agent by its httpx package."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from opentelemetry import trace
from rag_service import safety
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from otel_service import steps

AGENT = os.environ.get("RAG_AGENT_URL", "http://127.0.0.1:8092")
REFUSAL = "I can help with questions about Python's standard library only."


def create_app() -> Starlette:
    """The chat API's application."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with httpx.AsyncClient(timeout=30) as app.state.client:
            yield
        await asyncio.to_thread(steps.sent)

    return Starlette(
        routes=[
            Route("/chat", chat, methods=["POST"]),
            Route("/feedback", feedback, methods=["POST"]),
        ],
        lifespan=lifespan,
    )


async def chat(request: Request) -> Response:
    asked, who, entry = await request.json(), request.headers, trace.get_current_span()
    for name, header in (("user.id", "x-user"), ("session.id", "x-session"), ("tenant.id", "x-tenant")):
        entry.set_attribute(name, who.get(header, ""))
    trace_id = f"{entry.get_span_context().trace_id:032x}"
    if _screen("check question", asked["question"]):
        return JSONResponse({"trace_id": trace_id, "blocked": True, "answer": REFUSAL, "citations": []})
    found = await _ask_agent(request, asked)
    blocked = _screen("check answer", found["answer"])
    answer = REFUSAL if blocked else found["answer"]
    return JSONResponse(
        {"trace_id": trace_id, "blocked": bool(blocked), "answer": answer, "citations": found["citations"]}
    )


def _screen(name: str, text: str) -> str | None:
    """Why `text` must be blocked, if it must."""
    with steps.guardrail(name) as step:
        reason = safety.check(text)
        if reason:
            steps.deny(step, reason)
        return reason


async def _ask_agent(request: Request, asked: dict[str, Any]) -> dict[str, Any]:
    tenant = {"X-Tenant": request.headers.get("x-tenant", "")}
    answer = await request.app.state.client.post(f"{AGENT}/answer", json=asked, headers=tenant)
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


async def feedback(request: Request) -> Response:
    said = await request.json()
    steps.judged(trace.get_current_span(), "thumbs", float(said["thumbs"]))
    return JSONResponse({"taken": True}, 202)
