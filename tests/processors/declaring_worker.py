"""A worker for the contract tests: prints each poll as a line of JSON, declares all but its last three messages safe.

`python declaring_worker.py BOOTSTRAP TOPIC GROUP MEMBER`
"""

import asyncio
import json
import signal
import sys

from spanloom_processors import app as faust_app
from spanloom_processors.commits import Point
from spanloom_processors.settings import ProcessorSettings

KEPT_BACK = 3


def say(**facts):
    print(json.dumps(facts), flush=True)


class Owner:
    async def assigned(self, partitions):
        say(assigned={tp.partition: found.committed for tp, found in partitions.items()})
        return {tp: found.committed.offset if found.committed else found.log_start for tp, found in partitions.items()}

    async def revoking(self):
        pass

    def revoked(self):
        pass


async def main(bootstrap, topic, group, member):
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = ProcessorSettings(kafka_bootstrap=bootstrap, processor_group=group, processor_member=member)
    app = faust_app.build(settings, Owner())
    app.conf.broker_heartbeat_interval = 0.3  # a member hears of a rebalance with its next heartbeat

    @app.agent(app.topic(topic, acks=False))
    async def polls(stream):
        async for poll in stream:
            first, last = poll.messages[0][0], poll.messages[-1][0]
            safe = max(0, last + 1 - KEPT_BACK)
            app.consumer.commits.declare(poll.tp, Point(safe, f"safe={safe}"))
            say(partition=poll.tp.partition, first=first, last=last)

    await app.start()
    say(ready=True)
    await stop.wait()
    await app.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
