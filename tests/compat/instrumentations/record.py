"""Makes model calls through a real SDK under a real instrumentation, against the server of `provider`, and prints the
spans as JSON: case → spans, in the order of their ends, as the fields of `spanloom.otel.received.Received`.

`python record.py openai openinference.instrumentation.openai:OpenAIInstrumentor`; without an instrumentor the SDK's own
spans alone; `langfuse` in its place means Langfuse's drop-in client.
"""

import gc
import importlib
import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from provider import serving

MESSAGES: Any = [{"role": "user", "content": "What is the answer?"}]
TEXT = "What is the answer?"
SYSTEM, WHO, NOTE, HEADERS = "Only of zebras.", "ann@example.org", "zebras at noon", {"x-hidden": "Bearer zebra-key"}
"""What people write beside their question."""
TOOL = {"type": "object", "properties": {"zone": {"type": "string"}}}
Cases = dict[str, Callable[[], object]]


def spent(stream: Iterable[object], items: int | None = None) -> None:
    """Take all of a stream, or `items` of it and then leave."""
    for number, _ in enumerate(stream, 1):
        if number == items:
            stream.close()  # type: ignore[attr-defined]
            return


def openai_cases(url: str, module: str) -> Cases:
    """Calls of OpenAI's SDK, or of what stands in for it."""
    client = importlib.import_module(module).OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)
    chat, usage = client.chat.completions.create, {"include_usage": True}
    tools = [{"type": "function", "function": {"name": "clock", "parameters": TOOL}}]
    return {
        "chat": lambda: chat(model="gpt-4o", messages=MESSAGES, temperature=0.2, max_tokens=99, top_p=0.9),
        "stream": lambda: spent(chat(model="gpt-4o", messages=MESSAGES, stream=True, stream_options=usage)),
        "cancelled": lambda: spent(chat(model="slow", messages=MESSAGES, stream=True), 2),
        "error": lambda: chat(model="limited", messages=MESSAGES),
        "tools": lambda: chat(model="tools", messages=MESSAGES, tools=tools),
        "filtered": lambda: chat(model="filtered", messages=MESSAGES),
        "private": lambda: chat(
            model="gpt-4o",
            messages=[{"role": "system", "content": SYSTEM}, *MESSAGES],
            user=WHO,
            metadata={"note": NOTE},
            extra_headers=HEADERS,
        ),
        "stream_tools": lambda: spent(
            chat(model="tools", messages=MESSAGES, tools=tools, stream=True, stream_options=usage)
        ),
        "stream_error": lambda: spent(chat(model="broken", messages=MESSAGES, stream=True, stream_options=usage)),
        "responses": lambda: client.responses.create(model="gpt-4o", input="What is the answer?"),
        "responses_stream": lambda: spent(client.responses.create(model="gpt-4o", input="What is …", stream=True)),
        "responses_error": lambda: client.responses.create(model="limited", input="What is the answer?"),
        "embeddings": lambda: client.embeddings.create(model="embed", input="hello"),
    }


def anthropic_cases(url: str) -> Cases:
    """Calls of Anthropic's SDK."""
    client = importlib.import_module("anthropic").Anthropic(base_url=url, api_key="k", max_retries=0)
    create = client.messages.create

    def helper() -> None:
        with client.messages.stream(model="claude-sonnet-4-5", messages=MESSAGES, max_tokens=99) as stream:
            spent(stream.text_stream)

    return {
        "chat": lambda: create(model="claude-sonnet-4-5", messages=MESSAGES, max_tokens=99),
        "stream": lambda: spent(create(model="claude-sonnet-4-5", messages=MESSAGES, max_tokens=99, stream=True)),
        "stream_helper": helper,
        "cancelled": lambda: spent(create(model="slow", messages=MESSAGES, max_tokens=99, stream=True), 4),
        "error": lambda: create(model="limited", messages=MESSAGES, max_tokens=99),
        "tools": lambda: create(
            model="tools", messages=MESSAGES, max_tokens=99, tools=[{"name": "clock", "input_schema": TOOL}]
        ),
        "filtered": lambda: create(model="filtered", messages=MESSAGES, max_tokens=99),
        "private": lambda: create(
            model="claude-sonnet-4-5",
            messages=MESSAGES,
            max_tokens=99,
            system=SYSTEM,
            metadata={"user_id": WHO},
            extra_headers=HEADERS,
        ),
        "stream_tools": lambda: spent(
            create(
                model="tools",
                messages=MESSAGES,
                max_tokens=99,
                tools=[{"name": "clock", "input_schema": TOOL}],
                stream=True,
            )
        ),
        "stream_error": lambda: spent(create(model="broken", messages=MESSAGES, max_tokens=99, stream=True)),
    }


def qdrant_cases() -> Cases:
    """Calls of a vector store's client, in its own process."""
    client, models = (importlib.import_module(name) for name in ("qdrant_client", "qdrant_client.models"))
    store = client.QdrantClient(":memory:")
    points = [models.PointStruct(id=number, vector=[0.1, number], payload={"text": TEXT}) for number in range(5)]
    store.create_collection("docs", vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
    return {
        "upsert": lambda: store.upsert("docs", points=points),
        "query_points": lambda: store.query_points("docs", query=[0.1, 1.0], limit=3),
        "scroll": lambda: store.scroll("docs", limit=2),
    }


def fields(span: ReadableSpan) -> dict[str, Any]:
    """Return what the mapping takes."""
    context, parent = span.get_span_context(), span.parent
    assert context is not None
    return {
        "trace_id": f"{context.trace_id:032x}",
        "span_id": context.span_id,
        "parent": parent.span_id if parent else None,
        "remote": False,
        "name": span.name,
        "kind": span.kind.name.lower(),
        "start": span.start_time,
        "end": span.end_time,
        "status": span.status.status_code.name.lower(),
        "attributes": {name: short(value) for name, value in (span.attributes or {}).items()},
        "events": [
            (event.name, event.timestamp, {name: short(value) for name, value in (event.attributes or {}).items()})
            for event in span.events
        ],
        "scope": span.instrumentation_scope.name if span.instrumentation_scope else "",
    }


def short(value: Any) -> Any:
    """Leave out most of a stack trace: it names files of the machine."""
    return "Traceback" if isinstance(value, str) and value.startswith("Traceback") else value


def main(sdk: str, *instrumentors: str) -> None:
    """Record each case below a span of a service."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    module = "openai"
    for path in instrumentors:
        if path == "langfuse":
            langfuse = importlib.import_module("langfuse").Langfuse
            langfuse(public_key="pk", secret_key="sk", tracer_provider=provider, span_exporter=InMemorySpanExporter())
            module = "langfuse.openai"
            continue
        name, _, instrumentor = path.partition(":")
        getattr(importlib.import_module(name), instrumentor)().instrument(tracer_provider=provider)
    recorded = {}
    with serving() as url:
        made = {"openai": lambda: openai_cases(url, module), "anthropic": lambda: anthropic_cases(url)}
        cases = made.get(sdk, qdrant_cases)()
        for case, call in cases.items():
            exporter.clear()
            with trace.get_tracer("service").start_as_current_span("POST /chat", kind=trace.SpanKind.SERVER):
                try:
                    call()
                except Exception as error:
                    if not case.endswith("error"):
                        raise SystemExit(f"{case}: {error!r}") from error
                gc.collect()
            recorded[case] = [fields(span) for span in exporter.get_finished_spans()]
    json.dump(recorded, sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
