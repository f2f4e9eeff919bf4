import asyncio
from types import SimpleNamespace

from faust.types import TP
from spanloom_processors.commits import Point
from spanloom_processors.compacted import Record, read_whole
from spanloom_processors.consumer import Poll
from spanloom_processors.notifying import ALERTS_TP, Notifying
from spanloom_schemas import codec, topics

ALERT = codec.encode("alert", topics.examples("llm.alerts")[0])


class Route:
    def __init__(self) -> None:
        self.counts: dict = {}
        self.known: list = []
        self.delivered: dict[int, dict] = {}
        self.open = 0

    def restore(self, alerts) -> None:
        self.known = list(alerts)

    def deliver(self, alert, offset) -> None:
        self.delivered[offset] = alert

    def safe_offset(self) -> int:
        return self.open

    async def run(self) -> None:
        await asyncio.sleep(60)


def poll(*values: bytes | None, first: int = 0) -> Poll:
    records = [SimpleNamespace(offset=first + n, timestamp=1, value=value, key=None) for n, value in enumerate(values)]
    return Poll(TP(*ALERTS_TP), records, first + len(values))


def test_records_before_the_commit_are_known_and_those_after_it_are_delivered():
    async def scenario():
        route = Route()
        notifying = Notifying(lambda: route)
        notifying.start([Record(3, ALERT), Record(4, b"junk"), Record(9, ALERT)], position=7)
        assert len(route.known) == 1
        assert notifying.point() == Point(7)
        dead = notifying.take(poll(ALERT, None, b"junk", first=8))
        assert list(route.delivered) == [8]
        assert [(each.offset, each.reason) for each in dead] == [(10, "not_framed")]
        route.open = 9
        assert notifying.point() == Point(9)
        notifying.stop()

    asyncio.run(scenario())


def test_a_delivery_that_breaks_is_noticed_and_one_that_is_stopped_is_not():
    class Broken(Route):
        async def run(self) -> None:
            raise RuntimeError("a mistake")

    async def scenario(route):
        notifying = Notifying(lambda: route)
        notifying.start([], position=0)
        await asyncio.sleep(0)
        broken = notifying.failure()
        notifying.stop()
        return broken

    assert isinstance(asyncio.run(scenario(Broken())), RuntimeError)
    assert asyncio.run(scenario(Route())) is None


def test_a_compacted_topic_is_read_whole_and_an_empty_one_at_once(kafka, make_topic, produce):
    topic, empty = make_topic(1), make_topic(1)
    produce(topic, 0, [b"a", b"b", None, b"c"])
    settings = {"bootstrap.servers": kafka}
    assert read_whole(settings, topic) == [Record(0, b"a"), Record(1, b"b"), Record(3, b"c")]
    assert read_whole(settings, empty) == []
