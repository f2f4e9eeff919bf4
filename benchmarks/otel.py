"""What a span of OpenTelemetry's SDK costs a service: alone, with our processor, and with the SDK's own OTLP exporter.

The load of `producer`, made by the SDK's API: a chat request of eight spans. Each way runs in a process of its own;
Kafka and the OTLP receiver are other processes. CPU is all time of the process, less what the same load takes without
spans, delivery included.
"""

import gc
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import perf_counter_ns, process_time_ns, sleep

import producer
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
    (name, CALL if kind == "llm" else {"gen_ai.tool.name": "clock"} if kind == "tool" else None, ANSWER)
    for name, kind, _, _ in producer.STEPS
]


class Receiver(BaseHTTPRequestHandler):
    """Takes whatever is posted."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer success."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def request(tracer: Tracer, times: list[int]) -> None:
    """Make one request's spans; note what each took the caller."""
    producer.host()
    begun = perf_counter_ns()
    root = tracer.start_as_current_span("POST /chat", kind=SpanKind.SERVER, attributes=ROOT)
    root.__enter__()
    own = perf_counter_ns() - begun
    for name, attributes, answer in STEPS:
        begun = perf_counter_ns()
        with tracer.start_as_current_span(name, attributes=attributes) as span:
            if attributes is CALL:
                span.set_attributes(answer)
        times.append(perf_counter_ns() - begun)
        producer.host()
    begun = perf_counter_ns()
    root.__exit__(None, None, None)
    times.append(own + perf_counter_ns() - begun)


def cpu(load: Callable[[list[int]], None], flush: Callable[[], object]) -> tuple[list[int], float]:
    """Run a load at its pace; return the caller's times and the CPU nanoseconds, delivery included."""
    times: list[int] = []
    gc.collect()
    begun = process_time_ns()
    for _ in range(producer.REQUESTS):
        load(times)
        sleep(producer.PAUSE)
    flush()
    return times, process_time_ns() - begun


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
    for _ in range(50):
        request(tracer, [])
    provider.force_flush()
    _, beside = cpu(producer.idle, provider.force_flush)
    times, spent = cpu(lambda times: request(tracer, times), provider.force_flush)
    print(f"otel.{way}_caller_p50 {statistics.median(times) / 1000:.1f} us")
    print(f"otel.{way}_caller_p99 {statistics.quantiles(times, n=100)[98] / 1000:.1f} us")
    print(f"otel.{way}_cpu {(spent - beside) / len(times) / 1000:.1f} us", flush=True)


@contextmanager
def receiver() -> Iterator[str]:
    """Run a receiver in a process of its own; give its address."""
    with subprocess.Popen([sys.executable, __file__, "receive"], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        yield f"http://127.0.0.1:{child.stdout.readline().strip()}"
        child.terminate()


def main(arguments: list[str]) -> int:
    """Measure all ways, or do what a child process is for."""
    if arguments == ["receive"]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        print(server.server_port, flush=True)
        server.serve_forever()
    elif arguments:
        measure(*arguments)
    else:
        from spanloom import topics_command
        from spanloom_schemas.settings import KafkaSettings

        with producer.broker() as kafka, receiver() as url:
            topics_command.apply(KafkaSettings(kafka_bootstrap=kafka))
            targets = {"sdk": "", "spanloom": kafka, "otlp": url}
            codes = [
                subprocess.run([sys.executable, __file__, way, targets[way]], check=False).returncode for way in WAYS
            ]
        return max(codes)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
