"""Which fault is done by what: the numbers are those of the reference's list of fault tests."""

import random
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from tests.faults import crashes, inputs, paging, pauses, resources, topology
from tests.faults.stage import Stage


class Fault(NamedTuple):
    """A fault: `do` returns when it is done and lifted."""

    number: str
    name: str
    do: Callable[[Stage, random.Random], object]
    small_disk: str = ""
    """the folder of the stage that is to be a file system of its own"""
    receiver: str = "alertmanager"
    """who is told about alerts"""


NETWORKS: dict[str, dict[str, float]] = {
    "late": {"latency_s": 0.2},
    "narrow": {"bytes_a_second": 125_000},
    "lossy": {"loss": 0.05},
    "silent": {"silent": True},
}
"""200 ms each way; 1 Mbit/s each way and connection; one in twenty lost; connections that stay and carry nothing."""
FAULTS = (
    Fault("1", "kill-processor", crashes.kill_processor),
    Fault("1", "kill-any", crashes.kill_any),
    Fault("2", "points", crashes.die_at_points),
    Fault("2", "alert-points", crashes.die_with_alerts),
    Fault("3", "kill-sink", crashes.kill_sink),
    Fault("3", "kill-broker", crashes.kill_broker),
    Fault("3", "kill-engine", crashes.kill_engine),
    Fault("3", "kill-gateway", crashes.kill_gateway),
    Fault("4", "kill-all", crashes.kill_all),
    Fault("5", "sigterm", crashes.stop_in_order),
    Fault("6", "crash-loop", crashes.crash_loop),
    Fault("7", "kill-in-rebalance", crashes.kill_in_rebalance),
    Fault("7", "die-at-rebalance", crashes.die_at_rebalance),
    Fault("9", "torn-token-log", crashes.corrupt_deduplication_log),
    Fault("10", "zombie-processor", pauses.zombie_processor),
    Fault("10", "zombie-alone", pauses.zombie_alone),
    Fault("10", "replaced-sink", pauses.replaced_sink),
    Fault("11", "freeze-broker", pauses.freeze_broker),
    Fault("12", "freeze-sink", pauses.zombie_sink),
    Fault("13", "freeze-engine", pauses.freeze_engine),
    Fault("13", "slow-engine", pauses.slow_engine),
    Fault("14", "refusing-engine", pauses.refusing_engine),
    Fault("15", "resets", pauses.resets),
    *(
        Fault("15", f"{name}-{where}", partial(pauses.disturbed, where=where, **how))
        for where in ("broker", "engine")
        for name, how in NETWORKS.items()
    ),
    Fault("15", "refusing-broker", pauses.refusing_broker),
    Fault("16", "blocked-loop", pauses.blocked_loop),
    Fault("17", "full-engine", resources.full_engine, small_disk="clickhouse"),
    Fault("18", "full-broker", resources.full_broker, small_disk="kafka"),
    Fault("19", "few-descriptors", resources.few_descriptors),
    Fault("20", "little-memory", resources.little_memory),
    Fault("23-34", "bad-input", inputs.bad_input),
    Fault("23-34", "bad-topics", inputs.bad_of_every_topic),
    Fault("29-30", "bombs", inputs.bombs),
    Fault("33", "empty-flood", inputs.empty_flood),
    Fault("35", "replayed", inputs.replayed),
    Fault("36-37", "out-of-order", inputs.out_of_order),
    Fault("38", "trace-bomb", inputs.trace_bomb),
    Fault("40", "cardinality-bomb", inputs.cardinality_bomb),
    Fault("41-42", "hot-key", inputs.hot_key),
    Fault("bounds", "engine-away", inputs.engine_away),
    Fault("bounds", "broker-away", inputs.broker_away),
    Fault("bounds", "million-spans", partial(inputs.trace_bomb, count=1_000_000)),
    Fault("bounds", "million-names", partial(inputs.cardinality_bomb, count=1_000_000)),
    Fault("14", "engine-away-10m", partial(inputs.engine_away, seconds=600, megabytes=500)),
    Fault("bounds", "broker-away-10m", partial(inputs.broker_away, seconds=600)),
    Fault("43", "rebalances", topology.rebalances),
    Fault("44", "more-partitions", topology.more_partitions),
    Fault("45", "topic-made-anew", topology.made_anew),
    Fault("46", "past-retention", topology.past_retention),
    Fault("49", "pager-away", partial(paging.pager_away, seconds=600)),
    Fault("50", "pager-unwell", paging.pager_unwell),
    Fault("51", "pagerduty-dies", crashes.die_with_alerts, receiver="pagerduty"),
    Fault("51", "webhook-dies", crashes.die_with_alerts, receiver="webhook"),
    Fault("52", "silences", paging.silences),
    Fault("53", "pager-anew", paging.pager_anew),
)
