"""Workers that come and go; topics that grow, are made anew, or lose what was not read in time."""

import random
import signal

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from spanloom_schemas import topics

from tests.faults.crashes import worker
from tests.faults.stage import Stage
from tests.faults.verdict import rested
from tests.oracle.produced import logs

SPANS = "llm.spans"


def rebalances(stage: Stage, rnd: random.Random, times: int = 30, seconds: float = 20) -> None:
    """43: a second and a third worker come and go in turn, one every so many seconds."""
    here: list[str] = []
    for turn in range(times):
        if here and (len(here) == 2 or rnd.random() < 0.5):
            stage.children.remove(here.pop(rnd.randrange(len(here))))
        else:
            joining = worker(stage, f"processor-{turn + 2}")
            stage.children.start(joining)
            here.append(joining.name)
        stage.run(rnd.uniform(0.5 * seconds, 1.5 * seconds))
    for name in here:
        stage.children.remove(name)


def more_partitions(stage: Stage, rnd: random.Random) -> None:
    """44: llm.spans and llm.traces get more partitions while all of it runs; new producers use them at once."""
    grown = topics.load()[SPANS].partitions + 2
    admin = AdminClient({"bootstrap.servers": stage.bootstrap})
    for done in admin.create_partitions([NewPartitions(name, grown) for name in (SPANS, "llm.traces")]).values():
        done.result(20)
    stage.load(rnd.randrange(1000, 2000), producers=1)
    places = "SELECT uniqExact(partition) FROM spans"
    stage.until(lambda: stage.ask(places) == [(grown,)], 120, "the new partitions are read")


def made_anew(stage: Stage, rnd: random.Random) -> None:
    """45: llm.spans is deleted and made anew between two loads, while all of it runs: offsets begin at 0 again."""
    stage.unload()
    assert (verdict := rested(stage, idle=0)).good, verdict
    stage.former |= logs(stage.bootstrap)
    admin = AdminClient({"bootstrap.servers": stage.bootstrap})
    admin.delete_topics([SPANS])[SPANS].result(20)
    stage.until(lambda: SPANS not in admin.list_topics(timeout=10).topics, 60, "the old topic is gone")
    topic = topics.load()[SPANS]
    admin.create_topics([NewTopic(SPANS, topic.partitions, 1, config=topic.config())])[SPANS].result(20)
    stage.load(rnd.randrange(1000, 2000))


def past_retention(stage: Stage, rnd: random.Random, seconds: float = 8, kept: int = 10) -> None:
    """46: processor and sink are down while the broker removes what they had not read, but for the last messages."""
    for name in ("processor-1", "sink"):
        stage.children.hold(name)
    stage.run(seconds)
    stage.former |= logs(stage.bootstrap)
    admin = AdminClient({"bootstrap.servers": stage.bootstrap})
    trimmed = {place: log[-kept].offset for place, log in stage.former.items() if len(log) > kept}
    asked = [TopicPartition(SPANS, place.partition, offset) for place, offset in trimmed.items()]
    for done in admin.delete_records(asked).values():
        done.result(20)
    stage.trimmed = trimmed
    for name in ("processor-1", "sink"):
        stage.children.let_up(name)
    if "gateway" in stage.children.names():  # what a producer lost is `missing` once it has said its last
        stage.children.signal("gateway", signal.SIGTERM)
