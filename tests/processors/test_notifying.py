import asyncio
from types import SimpleNamespace
from typing import ClassVar

from faust.types import TP
from spanloom_processors.batches import Packed
from spanloom_processors.commits import Point
from spanloom_processors.compacted import Record, read_whole
from spanloom_processors.consumer import Poll
from spanloom_processors.dead_letters import packed
from spanloom_processors.delivery import route as delivery
from spanloom_processors.notifying import ALERTS_TP, Notifying
from spanloom_processors.worker import Worker
from spanloom_schemas import codec, topics

ALERT = codec.encode("alert", topics.examples("llm.alerts")[0])


class Route:
    def __init__(self) -> None:
        self.counts: dict = {}
        self.known: list = []
        self.delivered: dict[int, dict] = {}
        self.open = 0
        self.read = 0

    def restore(self, delivered, others) -> None:
        self.known, self.others = list(delivered), list(others)

    def deliver(self, alert, offset) -> None:
        self.delivered[offset] = alert

    def read_to(self, position) -> None:
        self.read = position

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
        assert (len(route.known), len(route.others)) == (1, 1)
        assert notifying.point() == Point(7)
        alerts, dead = notifying.readable(poll(ALERT, None, b"junk", first=8))
        notifying.take(alerts, 11)
        assert list(route.delivered) == [8]
        assert route.read == 11
        assert [(each.offset, each.reason) for each in dead] == [(10, "not_framed")]
        route.open = 9
        assert notifying.point() == Point(9)
        notifying.stop()

    asyncio.run(scenario())


def test_what_is_no_alert_is_committed_too_and_is_no_dead_letter_again_after_a_restart():
    async def scenario():
        notifying = Notifying(lambda: delivery.Route([]))
        notifying.start([], position=0)
        records = poll(ALERT, b"junk", None)
        alerts, dead = notifying.readable(records)
        assert [each.offset for each in dead] == [1]
        assert notifying.point() == Point(0)  # the dead letter is not stored yet
        notifying.take(alerts, records.position)
        assert notifying.point() == Point(3)
        notifying.stop()

    asyncio.run(scenario())


def test_a_batch_that_was_not_unfolded_is_one_dead_letter():
    batch = Packed(b"\0" * 50)
    batch.first = 3
    records = poll(ALERT, batch, first=4)
    _, dead = Notifying(Route).readable(records)
    assert [(each.offset, each.reason) for each in [*packed(records), *dead]] == [(5, "too_large")]


def test_an_alert_beside_a_dead_letter_is_committed_only_when_that_is_stored():
    """A worker that ends before the letter is stored must read it again."""

    class Owner:
        _assignments, _topic_ids = 0, {}
        notifying = Notifying(lambda: delivery.Route([]))
        points: ClassVar = []

        async def _ask(self, call):
            return call()

        async def _bury(self, _, dead):
            self.points += [len(dead), self.notifying.point()]

    async def scenario():
        owner = Owner()
        owner.notifying.start([], position=0)
        await Worker.take_alerts(owner, poll(b"junk", ALERT))
        assert owner.points == [1, Point(0)]
        assert owner.notifying.point() == Point(2)
        owner.notifying.stop()

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
