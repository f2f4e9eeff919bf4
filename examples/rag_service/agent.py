"""The agent: retrieves, reranks, builds the prompt and asks the model.

What it tells Spanloom: a span for each step, the documents it found and how good they were, the tokens of each segment
of the prompt, the model's own count of tokens, the time to the first one, and which documents the answer cites.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
import spanloom
from spanloom import span
from spanloom.asgi import TraceMiddleware
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rag_service import corpus, llm, prompt, retrieval
from rag_service.behaviour import Behaviour, set_behaviour
from rag_service.citations import cited
from rag_service.retrieval import Hit


def create_app(model: httpx.AsyncBaseTransport | None = None) -> Starlette:
    """The agent's application; `model` is how to reach the model's server, over the network unless given."""
    spanloom.configure(service="rag-agent", version="1.0")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.behaviour = Behaviour()
        app.state.index = retrieval.build_index(corpus.load())
        async with httpx.AsyncClient(timeout=30, transport=model) as app.state.client:
            yield
        spanloom.shutdown()

    app = Starlette(
        routes=[
            Route("/answer", answer, methods=["POST"]),
            Route("/admin/behaviour", set_behaviour, methods=["PUT"]),
        ],
        lifespan=lifespan,
    )
    app.add_middleware(TraceMiddleware)
    return app


async def answer(request: Request) -> Response:
    asked, state = await request.json(), request.app.state
    question, expected = asked["question"], asked.get("expected")
    tenant = request.headers.get("x-tenant", "")
    version = state.behaviour.prompt_version
    if entry := spanloom.current_span():
        entry.set_context(tenant=tenant, prompt_id=prompt.ID, prompt_version=version)

    hits = await _retrieve(request, question, expected)
    sources = _rerank(question, hits, prompt.SOURCES[version], expected)
    built = _build(question, sources, version)
    said = await _generate(state.client, llm.model_of(tenant), built.messages)
    used = _cite(said, sources)
    return JSONResponse({"answer": said, "citations": [hit.id for hit in used]})


async def _retrieve(request: Request, question: str, expected: str | None) -> list[Hit]:
    with span("search documents", event_type="retrieval") as step:
        await asyncio.sleep(request.app.state.behaviour.retrieval_delay_ms / 1000)
        hits = retrieval.search(request.app.state.index, question, retrieval.K)
        step.set_documents([(hit.id, hit.score) for hit in hits], k=retrieval.K)
        if expected:
            step.add_score("hit_at_k", retrieval.hit_at_k(expected, hits))
        return hits


def _rerank(question: str, hits: Sequence[Hit], keep: int, expected: str | None) -> list[Hit]:
    with span("rerank", event_type="rerank") as step:
        best = retrieval.rerank(question, hits, keep)
        if expected:
            step.add_score("context_precision", retrieval.context_precision(expected, best))
        return best


def _build(question: str, sources: Sequence[Hit], version: str) -> prompt.Prompt:
    with span("build prompt", event_type="prompt") as step:
        built = prompt.build(question, sources, version)
        step.set_prompt(segments=built.tokens, truncated=built.context_truncated)
        return built


async def _generate(client: httpx.AsyncClient, model: str, messages: list[dict[str, str]]) -> str:
    settings = {"temperature": 0.2, "max_tokens": 256}
    with span(f"chat {model}", event_type="llm", model=model, attributes=settings | {"provider": "openai"}) as call:
        said: list[str] = []
        async for chunk in llm.stream(client, model, messages, **settings):
            for choice in chunk["choices"]:
                if text := choice["delta"].get("content"):
                    call.mark_first_token()
                    said.append(text)
                if reason := choice["finish_reason"]:
                    call.set_attribute("finish_reasons", [reason])
            if usage := chunk.get("usage"):
                # OpenAI counts cached tokens among those of the prompt; Spanloom's buckets are disjoint.
                cached = usage["prompt_tokens_details"]["cached_tokens"]
                fresh = usage["prompt_tokens"] - cached
                call.set_tokens(input=fresh, cache_read=cached, output=usage["completion_tokens"])
                call.set_model(chunk["model"])
        return "".join(said)


def _cite(answer: str, sources: Sequence[Hit]) -> list[Hit]:
    with span("resolve citations", event_type="postproc") as step:
        used = cited(answer, sources)
        step.set_documents([(hit.id, hit.score, True) for hit in used])
        return used
