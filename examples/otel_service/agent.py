"""The agent of `rag_service`, instrumented by OpenTelemetry: Starlette and httpx by its packages, OpenAI's SDK by
OpenInference's, all turned on by `opentelemetry-instrument`; what is left is in `steps`.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from openai import AsyncOpenAI
from openinference.instrumentation import using_attributes
from opentelemetry import trace
from rag_service import corpus, llm, prompt, retrieval
from rag_service.behaviour import Behaviour, set_behaviour
from rag_service.citations import cited
from rag_service.retrieval import Hit
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from otel_service import steps


def create_app() -> Starlette:
    """The agent's application; OPENAI_BASE_URL says where the model is."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.behaviour = Behaviour()
        app.state.index = retrieval.build_index(corpus.load())
        async with AsyncOpenAI(max_retries=0) as app.state.client:
            yield
        await asyncio.to_thread(steps.sent)

    return Starlette(
        routes=[
            Route("/answer", answer, methods=["POST"]),
            Route("/admin/behaviour", set_behaviour, methods=["PUT"]),
        ],
        lifespan=lifespan,
    )


async def answer(request: Request) -> Response:
    asked, state = await request.json(), request.app.state
    question, expected = asked["question"], asked.get("expected")
    tenant, version = request.headers.get("x-tenant", ""), state.behaviour.prompt_version
    trace.get_current_span().set_attribute("tenant.id", tenant)

    hits = await _retrieve(request, question, expected)
    sources = _rerank(question, hits, prompt.SOURCES[version], expected)
    built = prompt.build(question, sources, version)
    with using_attributes(prompt_template_version=version):
        said = await _generate(state.client, llm.model_of(tenant), built.messages)
    used = cited(said, sources)
    return JSONResponse({"answer": said, "citations": [hit.id for hit in used]})


async def _retrieve(request: Request, question: str, expected: str | None) -> list[Hit]:
    with steps.retrieval("python-docs", retrieval.K) as step:
        await asyncio.sleep(request.app.state.behaviour.retrieval_delay_ms / 1000)
        hits = retrieval.search(request.app.state.index, question, retrieval.K)
        steps.found(step, hits)
        if expected:
            steps.judged(step, "hit_at_k", retrieval.hit_at_k(expected, hits))
        return hits


def _rerank(question: str, hits: Sequence[Hit], keep: int, expected: str | None) -> list[Hit]:
    with steps.rerank(keep) as step:
        best = retrieval.rerank(question, hits, keep)
        steps.ranked(step, best)
        if expected:
            steps.judged(step, "context_precision", retrieval.context_precision(expected, best))
        return best


async def _generate(client: AsyncOpenAI, model: str, messages: Any) -> str:
    said = []
    async for chunk in await client.chat.completions.create(
        model=model,
        messages=messages,
        temperature=0.2,
        max_tokens=256,
        stream=True,
        stream_options={"include_usage": True},
    ):
        said += [choice.delta.content or "" for choice in chunk.choices]
    return "".join(said)
