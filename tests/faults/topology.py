"""Workers that come and go; topics that grow, are made anew, or lose what was not read in time."""

import random

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from spanloom_schemas import topics

from tests.faults.crashes import worker
from tests.faults.stage import Stage

SPANS = "llm.spans"


def rebalances(stage: Stage, rnd: random.Random, times: int = 6) -> None:
    """43: a second and a third worker come and go in turn."""
    here: list[str] = []
    for turn in range(times):
        if here and (len(here) == 2 or rnd.random() < 0.5):
            stage.children.remove(here.pop(rnd.randrange(len(here))))
        else:
            joining = worker(stage, f"processor-{turn + 2}")
            stage.children.start(joining)
            here.append(joining.name)
        stage.run(rnd.uniform(2, 8))
    for name in here:
        stage.children.remove(name)


def more_partitions(stage: Stage, rnd: random.Random) -> None:
    """44: llm.spans and llm.traces get more partitions while all of it runs."""
    grown = topics.load()[SPANS].partitions + 2
    admin = AdminClient({"bootstrap.servers": stage.bootstrap})
    for done in admin.create_partitions([NewPartitions(name, grown) for name in (SPANS, "llm.traces")]).values():
        done.result(20)
    stage.run(5)


def made_anew(stage: Stage, rnd: random.Random) -> None:
    """45: all of the line's topics are deleted and made anew, between two loads: offsets begin at 0 again."""
    admin = AdminClient({"bootstrap.servers": stage.bootstrap})
    for done in admin.delete_topics(list(topics.load())).values():
        done.result(20)
    stage.until(
        lambda: not set(topics.load()) & set(admin.list_topics(timeout=10).topics), 60, "the old topics are gone"
    )
    new = [NewTopic(topic.name, topic.partitions, 1, config=topic.config()) for topic in topics.load().values()]
    for done in admin.create_topics(new).values():
        done.result(20)


def past_retention(stage: Stage, rnd: random.Random, seconds: float = 6) -> int:
    """46: processor and sink are down while the broker removes what they had not read; returns how many spans."""
    for name in ("processor-1", "sink"):
        stage.children.hold(name)
    stage.run(seconds)
    admin = AdminClient({"bootstrap.servers": stage.bootstrap})
    places = [TopicPartition(SPANS, number) for number in range(topics.load()[SPANS].partitions)]
    consumer = Consumer({"bootstrap.servers": stage.bootstrap, "group.id": "retention"})
    for place in places:
        _, high = consumer.get_watermark_offsets(place, timeout=20)
        place.offset = max(0, high - 5)
    consumer.close()
    for done in admin.delete_records(places).values():
        done.result(20)
    for name in ("processor-1", "sink"):
        stage.children.let_up(name)
    return 0
