"""What a span costs the service that embeds the producer: the caller's thread, and all CPU with encoding and sending.

The load is a chat request of eight spans as services make them: a request with tenant, user and session, retrieval with
ten documents, rerank, prompt, a model call with tokens and times, a safety check, a tool, post-processing. Each step
does a little work of the host's own (JSON), each request waits a little: a thousand to two thousand spans a second.
Kafka is the broker at SPANLOOM_KAFKA_BOOTSTRAP, or one started for this. CPU is all time of the process, less what the
same load takes without spans.
"""

import gc
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns, process_time_ns, sleep

import spanloom

REQUESTS = 800
SPANS = 8
PAUSE = 0.002
BODY = {"messages": [{"role": "user", "content": "How do I open a file? " * 8}] * 12, "model": "gpt-4o"}
DOCUMENTS = [(f"doc-{number}", 1 / (number + 1), number < 3) for number in range(10)]
REQUEST = {"tenant": "acme", "user": "ann@example.org", "session_id": "s-1", "experiment": "b"}
MODEL = {"temperature": 0.2, "max_tokens": 512, "provider": "openai", "prompt_id": "answer", "prompt_version": "7"}


def host() -> None:
    """Work as a service does between its spans."""
    json.loads(json.dumps(BODY))


def work(_: spanloom.Span) -> None:
    """Say nothing more."""


def documents(span: spanloom.Span) -> None:
    span.set_documents(DOCUMENTS, k=10)


def answer(span: spanloom.Span) -> None:
    span.mark_first_token()
    span.set_tokens(input=812, cache_read=1024, output=180, reasoning=64)
    span.set_model("gpt-4o-2024-08-06")
    span.set_finish_reasons("stop")


def prompt(span: spanloom.Span) -> None:
    span.set_prompt("answer", "7", segments={"system": 200, "instructions": 80, "context": 1400, "user": 156})


STEPS: list[tuple[str, str, dict[str, object] | None, Callable[[spanloom.Span], None]]] = [
    ("search", "retrieval", None, documents),
    ("rerank", "rerank", None, work),
    ("build prompt", "prompt", None, prompt),
    ("chat gpt-4o", "llm", MODEL, answer),
    ("check answer", "safety", None, work),
    ("look up", "tool", {"tool_name": "calculator"}, work),
    ("format", "postproc", None, work),
]


def request(times: list[int]) -> None:
    """Make one request's spans; note what each took the caller, the request's own parts added up."""
    host()
    begun = perf_counter_ns()
    root = spanloom.span("POST /chat", event_type="request", attributes=REQUEST).__enter__()
    own = perf_counter_ns() - begun
    for name, kind, attributes, say in STEPS:
        begun = perf_counter_ns()
        with spanloom.span(name, event_type=kind, attributes=attributes) as span:
            say(span)
        times.append(perf_counter_ns() - begun)
        host()
    begun = perf_counter_ns()
    root.__exit__()
    times.append(own + perf_counter_ns() - begun)


def cpu(load: Callable[[list[int]], None], requests: int) -> tuple[list[int], float]:
    """Run a load at its pace; return the caller's times and the CPU nanoseconds, flush included."""
    times: list[int] = []
    gc.collect()
    begun = process_time_ns()
    for _ in range(requests):
        load(times)
        sleep(PAUSE)
    spanloom.flush()
    return times, process_time_ns() - begun


def idle(times: list[int]) -> None:
    """Do what the load does beside spans."""
    for _ in range(SPANS):
        host()
        begun = perf_counter_ns()
        times.append(perf_counter_ns() - begun)


@contextmanager
def broker() -> Iterator[str]:
    """Yield a broker with the topics in it."""
    if given := os.environ.get("SPANLOOM_KAFKA_BOOTSTRAP"):
        yield given
        return
    from spanloom_stack import kafka, services
    from spanloom_stack.settings import StackSettings
    from spanloom_stack.supervise import Supervisor

    with tempfile.TemporaryDirectory() as folder, Supervisor(Path(folder)) as supervisor:
        service, bootstrap = services.broker(kafka.install(StackSettings().cache), Path(folder) / "data", port=0)
        supervisor.start(service)
        yield bootstrap


def main() -> int:
    """Measure, and print the figures."""
    from spanloom import topics_command
    from spanloom_schemas.settings import KafkaSettings

    with broker() as bootstrap:
        topics_command.apply(KafkaSettings(kafka_bootstrap=bootstrap))
        spanloom.configure(service="benchmark", kafka_bootstrap=bootstrap, user_pepper="k1:benchmark")
        cpu(request, 50)
        _, beside = cpu(idle, REQUESTS)
        times, spent = cpu(request, REQUESTS)
        arrived = spanloom.shutdown()
    cuts = statistics.quantiles(times, n=100)
    print(f"producer.caller_p50 {statistics.median(times) / 1000:.1f} us")
    print(f"producer.caller_p99 {cuts[98] / 1000:.1f} us")
    print(f"producer.cpu {(spent - beside) / len(times) / 1000:.1f} us")
    if not arrived:
        print(f"spanloom: spans were dropped: {spanloom.dropped()}", file=sys.stderr)
    return 0 if arrived else 1


if __name__ == "__main__":
    sys.exit(main())
