"""What the gateway says to Prometheus. Tenants are those of the file of keys, so they are few."""

from collections import Counter as Tally
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The gateway's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "spanloom_gateway_requests", "Requests, by answer", ["door", "answer", "tenant"], registry=registry
        )
        self._seconds = Histogram(
            "spanloom_gateway_request_seconds",
            "From a request's head to its answer, Kafka's word included",
            ["door"],
            buckets=BUCKETS,
            registry=registry,
        )
        self._spans = Counter(
            "spanloom_gateway_spans", "Spans of requests that were read", ["result", "tenant"], registry=registry
        )
        self._messages = Counter(
            "spanloom_gateway_collector_messages", "Messages of a Collector's topic", ["answer"], registry=registry
        )
        self._in_flight = Gauge("spanloom_gateway_requests_in_flight", "Requests not answered yet", registry=registry)
        self._open = Gauge("spanloom_gateway_open", "1: Kafka takes spans", registry=registry)
        self._buffered = Gauge("spanloom_gateway_buffered_bytes", "Of spans that wait for Kafka", registry=registry)

    def watch(self, is_open: Callable[[], bool], buffered: Callable[[], int], in_flight: Callable[[], int]) -> None:
        """Have the gauges ask when they are read."""
        self._in_flight.set_function(in_flight)
        self._open.set_function(is_open)
        self._buffered.set_function(buffered)

    def answered(self, door: str, answer: str, tenant: str, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(door, answer, tenant).inc()
        self._seconds.labels(door).observe(seconds)

    def spans(self, results: Mapping[str, int], tenant: str) -> None:
        """Count the spans of a request by what became of them."""
        for result, spans in Tally(results).items():
            self._spans.labels(result, tenant).inc(spans)

    def read(self, answer: str) -> None:
        """Count a message of a Collector's topic."""
        self._messages.labels(answer).inc()
