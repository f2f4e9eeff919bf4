"""The load that every way of tracing is measured under: a service that answers chat requests, eight spans each.

A request with tenant, user and session, retrieval with ten documents, rerank, prompt, a model call with tokens and
times, a safety check, a tool, post-processing. Each step does a little work of the host's own (JSON), each request
waits a little: a thousand to two thousand spans a second. CPU is all time of the process, less what the same load takes
without spans, delivery included.
"""

import gc
import json
import statistics
from collections.abc import Callable
from time import perf_counter_ns, process_time_ns, sleep

WARM_UP, REQUESTS = 50, 800
SPANS = 8
PAUSE = 0.002
BODY = {"messages": [{"role": "user", "content": "How do I open a file? " * 8}] * 12, "model": "gpt-4o"}
DOCUMENTS = [(f"doc-{number}", 1 / (number + 1), number < 3) for number in range(10)]

Request = Callable[[list[int]], None]
"""Makes the spans of one request, and notes what each took the caller."""


def host() -> None:
    """Work as a service does between its spans."""
    json.loads(json.dumps(BODY))


def measure(name: str, request: Request, flush: Callable[[], object]) -> None:
    """Run the load, without spans and with, and print what a span costs."""
    _run(request, flush, WARM_UP)
    _, beside = _run(_idle, flush, REQUESTS)
    times, spent = _run(request, flush, REQUESTS)
    print(f"{name}caller_p50 {statistics.median(times) / 1000:.1f} us")
    print(f"{name}caller_p99 {statistics.quantiles(times, n=100)[98] / 1000:.1f} us")
    print(f"{name}cpu {(spent - beside) / len(times) / 1000:.1f} us", flush=True)


def _run(request: Request, flush: Callable[[], object], requests: int) -> tuple[list[int], int]:
    times: list[int] = []
    gc.collect()
    begun = process_time_ns()
    for _ in range(requests):
        request(times)
        sleep(PAUSE)
    flush()
    return times, process_time_ns() - begun


def _idle(times: list[int]) -> None:
    for _ in range(SPANS):
        host()
        begun = perf_counter_ns()
        times.append(perf_counter_ns() - begun)
