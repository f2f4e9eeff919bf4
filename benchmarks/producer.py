"""What a span costs the service that embeds the producer: the caller's thread, and all CPU with encoding and sending.

Kafka is the broker at SPANLOOM_KAFKA_BOOTSTRAP, or one started for this.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns

import load
import spanloom

REQUEST = {"tenant": "acme", "user": "ann@example.org", "session_id": "s-1", "experiment": "b"}
MODEL = {"temperature": 0.2, "max_tokens": 512, "provider": "openai", "prompt_id": "answer", "prompt_version": "7"}


def work(_: spanloom.Span) -> None:
    """Say nothing more."""


def documents(span: spanloom.Span) -> None:
    span.set_documents(load.DOCUMENTS, k=10)


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
    load.host()
    begun = perf_counter_ns()
    root = spanloom.span("POST /chat", event_type="request", attributes=REQUEST).__enter__()
    own = perf_counter_ns() - begun
    for name, kind, attributes, say in STEPS:
        begun = perf_counter_ns()
        with spanloom.span(name, event_type=kind, attributes=attributes) as span:
            say(span)
        times.append(perf_counter_ns() - begun)
        load.host()
    begun = perf_counter_ns()
    root.__exit__()
    times.append(own + perf_counter_ns() - begun)


@contextmanager
def broker() -> Iterator[str]:
    """Yield a broker with the topics in it."""
    from spanloom import topics_command
    from spanloom_schemas.settings import KafkaSettings
    from spanloom_stack import kafka, services
    from spanloom_stack.settings import StackSettings
    from spanloom_stack.supervise import Supervisor

    if given := os.environ.get("SPANLOOM_KAFKA_BOOTSTRAP"):
        topics_command.apply(KafkaSettings(kafka_bootstrap=given))
        yield given
        return
    with tempfile.TemporaryDirectory() as folder, Supervisor(Path(folder)) as supervisor:
        service, bootstrap = services.broker(kafka.install(StackSettings().cache), Path(folder) / "data", port=0)
        supervisor.start(service)
        topics_command.apply(KafkaSettings(kafka_bootstrap=bootstrap))
        yield bootstrap


def main() -> int:
    """Measure, and print the figures."""
    with broker() as bootstrap:
        spanloom.configure(service="benchmark", kafka_bootstrap=bootstrap, user_pepper="k1:benchmark")
        load.measure("producer.", request, spanloom.flush)
        arrived = spanloom.shutdown()
    if not arrived:
        print(f"spanloom: spans were dropped: {spanloom.dropped()}", file=sys.stderr)
    return 0 if arrived else 1


if __name__ == "__main__":
    sys.exit(main())
