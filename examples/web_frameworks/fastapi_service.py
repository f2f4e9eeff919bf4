"""Answers questions with a model, streamed: `uvicorn --factory web_frameworks.fastapi_service:create_app --port 8093`.

Spanloom's part: `configure`, `instrument` (the SDK's stream is timed by itself), the middleware.
"""

import os
from collections.abc import AsyncIterator

import spanloom
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI
from pydantic import BaseModel
from spanloom.asgi import TraceMiddleware


class Question(BaseModel):
    question: str


def create_app() -> FastAPI:
    spanloom.configure(service="fastapi-answers")
    spanloom.instrument()
    app = FastAPI()
    app.add_middleware(TraceMiddleware)
    model = AsyncOpenAI(base_url=os.environ.get("MODEL_URL", "http://127.0.0.1:8090/v1"), api_key="none")

    async def words(question: str) -> AsyncIterator[str]:
        async for chunk in await model.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": question}],
            stream=True,
            stream_options={"include_usage": True},  # without it, tokens are estimated
        ):
            for choice in chunk.choices:
                yield choice.delta.content or ""

    @app.post("/answers/{tenant}")
    async def answer(tenant: str, asked: Question) -> StreamingResponse:
        if entry := spanloom.current_span():
            entry.set_context(tenant=tenant)
        return StreamingResponse(words(asked.question), media_type="text/plain")

    return app
