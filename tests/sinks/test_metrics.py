"""What the sink says to Prometheus."""

from prometheus_client import generate_latest
from spanloom_sinks.metrics import Metrics


def test_dead_letters_begin_with_0_for_every_topic_and_reason():
    """Prometheus sees no growth in a series whose first value is its first event."""
    lines = generate_latest(Metrics().registry).decode().splitlines()
    for topic in ("llm.spans", "llm.panes", "llm.traces", "llm.alerts", "llm.samples", "llm.dead_letters"):
        assert f'spanloom_sink_dead_letters_total{{reason="malformed",topic="{topic}"}} 0.0' in lines
