"""What a span of OpenTelemetry's SDK costs a service: alone, with our processor, and with the SDK's own OTLP exporter.

The load of `producer`, made by the SDK's API: a chat request of eight spans. Each way runs in a process of its own;
Kafka and the OTLP receiver are other processes.
"""

import subprocess
import sys
from functools import partial
from time import perf_counter_ns

import load
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, Tracer

WAYS = ("sdk", "spanloom", "otlp")
ROOT = {"tenant": "acme", "user.id": "ann@example.org", "session.id": "s-1", "http.request.method": "POST"}
CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.request.temperature": 0.2,
    "gen_ai.request.max_tokens": 512,
    "gen_ai.prompt.name": "answer",
    "gen_ai.prompt.version": "7",
}
ANSWER = {
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.response.time_to_first_chunk": 0.001,
    "gen_ai.usage.input_tokens": 1836,
    "gen_ai.usage.cache_read.input_tokens": 1024,
    "gen_ai.usage.output_tokens": 244,
    "gen_ai.usage.reasoning.output_tokens": 64,
}
STEPS = [
    *((name, None) for name in ("search", "rerank", "build prompt")),
    ("chat gpt-4o", CALL),
    ("check answer", None),
    ("look up", {"gen_ai.tool.name": "calculator"}),
    ("format", None),
]


def request(tracer: Tracer, times: list[int]) -> None:
    """Make one request's spans; note what each took the caller."""
    load.host()
    begun = perf_counter_ns()
    root = tracer.start_as_current_span("POST /chat", kind=SpanKind.SERVER, attributes=ROOT)
    root.__enter__()
    own = perf_counter_ns() - begun
    for name, attributes in STEPS:
        begun = perf_counter_ns()
        with tracer.start_as_current_span(name, attributes=attributes) as span:
            if attributes is CALL:
                span.set_attributes(ANSWER)
        times.append(perf_counter_ns() - begun)
        load.host()
    begun = perf_counter_ns()
    root.__exit__(None, None, None)
    times.append(own + perf_counter_ns() - begun)


def measure(way: str, target: str) -> None:
    """Measure one way in this process, and print its figures."""
    provider = TracerProvider(resource=Resource({"service.name": "benchmark"}), shutdown_on_exit=False)
    if way == "spanloom":
        import spanloom
        from spanloom.otel import SpanloomSpanProcessor

        spanloom.configure(service="benchmark", kafka_bootstrap=target, user_pepper="k1:benchmark")
        provider.add_span_processor(SpanloomSpanProcessor())
    if way == "otlp":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{target}/v1/traces")))
    tracer = provider.get_tracer("benchmark")
    load.measure(f"otel.{way}_", partial(request, tracer), provider.force_flush)


def main(arguments: list[str]) -> int:
    """Measure all ways, or the one that a child process is for."""
    if arguments:
        measure(*arguments)
        return 0
    from producer import broker
    from receiver import receiver

    with broker() as kafka, receiver() as url:
        targets = {"sdk": "", "spanloom": kafka, "otlp": url}
        codes = [subprocess.run([sys.executable, __file__, way, targets[way]], check=False).returncode for way in WAYS]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
