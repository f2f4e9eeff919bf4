"""How far the sink has come, as its consumer knows it from Kafka."""

import math
from datetime import UTC, datetime, timedelta

from spanloom_sinks.consumer import Consumer
from spanloom_sinks.settings import SinkSettings


def test_all_that_came_before_a_moment_is_stored_when_every_partition_is(kafka, produce, traffic, eventually):
    name = f"until-{traffic.id(8)}"
    produce("llm.spans", [traffic.encoded([traffic.span()])], traffic.id(16))
    consumer = Consumer(SinkSettings(kafka_bootstrap=kafka, sink_group=name, sink_instance=name), ["llm.spans"])
    try:

        def fetched() -> bool:
            consumer.poll(0.1)
            lanes = consumer.lanes.values()
            return consumer.assigned and all(
                lane.next == consumer.end("llm.spans", lane.source.partition) for lane in lanes
            )

        eventually(fetched)
        tomorrow, long_ago = datetime.now(UTC) + timedelta(days=1), datetime.fromtimestamp(0, UTC)
        assert consumer.stored_until("llm.spans", long_ago)
        assert not consumer.stored_until("llm.spans", tomorrow)
        for lane in consumer.lanes.values():
            while lane.cut(math.inf, 0) is not None:
                lane.finish()
        assert consumer.stored_until("llm.spans", tomorrow)
    finally:
        consumer.close()
