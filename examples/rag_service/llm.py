"""Asks an OpenAI-compatible server, streamed."""

import json
import os
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx

URL = os.environ.get("RAG_LLM_URL", "http://127.0.0.1:8090")

MODELS = {"globex": "gpt-4o"}  # what a tenant pays for; the others get the small one
SMALL = "gpt-4o-mini"


def model_of(tenant: str) -> str:
    """The model that answers a tenant's questions."""
    return MODELS.get(tenant, SMALL)


async def stream(
    client: httpx.AsyncClient, model: str, messages: Sequence[dict[str, str]], **settings: float
) -> AsyncIterator[dict[str, Any]]:
    """The chunks of an answer as they arrive, the last with `usage`. Raises httpx.HTTPError."""
    asked = {
        "model": model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        **settings,
    }
    async with client.stream("POST", f"{URL}/v1/chat/completions", json=asked) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                yield json.loads(line.removeprefix("data: "))
