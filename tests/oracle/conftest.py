"""Small logs, made by hand."""

from typing import Any

import pytest

T0 = 1_700_000_000_000
"""Epoch ms; the start of a pane."""


class Made:
    """Spans and batches with everything that the schema asks for."""

    def span(
        self, trace: str = "t", span_id: str = "s", end_ms: float = 0, duration_ms: float = 100, **said: Any
    ) -> Any:
        end = round((T0 + end_ms) * 1_000_000)
        plain = {"trace_id": trace, "span_id": span_id, "parent_id": None, "parent_remote": False, "name": "answer"}
        plain |= {"kind": "request", "otel_kind": "server", "status": "ok", "error_type": None, "tool_name": None}
        records = dict.fromkeys(("context", "prompt", "llm", "retrieval", "payload", "block_reason"))
        lists = {"scores": [], "events": [], "links": [], "attributes": []}
        return plain | records | lists | {"start": end - round(duration_ms * 1e6), "end": end} | said

    def llm(self, **said: Any) -> Any:
        plain = {"provider": "openai", "request_model": "gpt-4o-mini", "response_model": None, "service_tier": None}
        counts = dict.fromkeys(
            f"{name}_tokens" for name in ("input", "cache_read", "cache_write", "output", "reasoning")
        )
        return plain | counts | {"usage": "measured", "cached": False, "time_to_first_token": None} | said

    def batch(self, *spans: Any, sequence: int = 1, **said: Any) -> Any:
        plain = {"producer": "p", "epoch": 7, "sequence": sequence, "service": "chat", "environment": "test"}
        plain |= {"host": "h", "version": "1", "sdk": "test/1", "sent": 0, "made": len(spans), "dropped": []}
        return plain | {"given_up": [], "last": False, "spans": list(spans)} | said


@pytest.fixture(scope="session")
def made() -> Made:
    return Made()
