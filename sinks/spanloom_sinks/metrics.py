"""What the sink says about itself to Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from spanloom_schemas import codec, topics
from spanloom_schemas.bounds import OUT_OF_BOUNDS


class Metrics:
    """The sink's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.rows = Counter("spanloom_sink_rows", "Rows written", ["table"], registry=registry)
        self.insert = Histogram(
            "spanloom_sink_insert_seconds",
            "Time an insert took",
            ["table"],
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=registry,
        )
        self.retries = Counter("spanloom_sink_retries", "Inserts and queries that ClickHouse failed", registry=registry)
        self.dead = Counter(
            "spanloom_sink_dead_letters", "Messages that could not be read", ["topic", "reason"], registry=registry
        )
        # Prometheus sees no growth in a series whose first value is its first event.
        for topic in topics.load().values():
            if "sinks" in topic.consumers:
                for reason in (*codec.REASONS, OUT_OF_BOUNDS):
                    self.dead.labels(topic.name, reason)
        self.lost = Counter(
            "spanloom_sink_lost_messages",
            "Messages that retention took before they were stored, at most",
            ["topic", "partition"],
            registry=registry,
        )
        self.lag = Gauge(
            "spanloom_sink_lag_messages",
            "Messages in the log that are not in the tables",
            ["topic", "partition"],
            registry=registry,
        )
        self.freshness = Gauge(
            "spanloom_sink_freshness_seconds",
            "Age of the newest stored message when it was stored",
            ["topic"],
            registry=registry,
        )
        self.amended = Counter(
            "spanloom_sink_amended_traces", "Traces summed up again from their spans", registry=registry
        )
        self.unamended = Counter(
            "spanloom_sink_unamended_traces",
            "Times that a trace of too many spans to be summed up again was left in segments",
            registry=registry,
        )
