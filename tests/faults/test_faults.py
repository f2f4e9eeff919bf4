"""The quick faults, one after the other on one line under load; then nothing is lost, double or wrong.

First bad and odd input, at which no process ends; then crashes and outages, so that it is read again. `make soak` tries
all of them, each on a line of its own, and longer.
"""

import os
import random
from collections.abc import Iterator

import pytest

from tests.faults import crashes, inputs, pauses
from tests.faults.stage import Stage, staged
from tests.faults.verdict import rested

SEED = int(os.environ.get("SEED", "1"))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A line under load. No span ends long after its trace: such a trace is told half a minute later."""
    with staged(tmp_path_factory.mktemp("line")) as stage:
        stage.load(SEED, late=0)
        stage.live_again()
        yield stage


@pytest.fixture
def rnd() -> random.Random:
    return random.Random(SEED)


def test_every_kind_of_bad_message_and_a_flood_of_poison(stage, rnd):
    inputs.bad_input(stage, rnd)


def test_poison_on_every_topic_that_the_processors_write(stage, rnd):
    inputs.bad_of_every_topic(stage, rnd)


def test_batches_that_unfold_to_hundreds_of_megabytes_and_messages_too_large(stage, rnd):
    inputs.bombs(stage, rnd, count=2)


def test_everything_sent_again(stage, rnd):
    inputs.replayed(stage, rnd)


def test_spans_in_no_order_late_early_and_of_wrong_clocks(stage, rnd):
    inputs.out_of_order(stage, rnd)


def test_processor_sink_broker_and_engine_die_at_once_by_kill_9(stage, rnd):
    crashes.kill_all(stage, rnd, kills=1)
    stage.live_again()


def test_the_sink_dies_between_insert_and_commit(stage, rnd):
    crashes.die_at(stage, "sink.after_insert", 2)


def test_the_processor_dies_when_panes_are_flushed_and_not_committed(stage, rnd):
    crashes.die_at(stage, "processor.after_flush", 2)


def test_sink_and_processor_die_again_and_again_before_they_are_ready(stage, rnd):
    crashes.crash_loop(stage, rnd, times=4)
    stage.live_again()


def test_the_engine_is_away_and_comes_back(stage, rnd):
    pauses.refusing_engine(stage, rnd, seconds=3)


def test_connections_to_broker_and_engine_are_reset(stage, rnd):
    pauses.resets(stage, rnd, times=3)


def test_sigterm_under_load_ends_processor_and_sink_in_order(stage, rnd):
    crashes.stop_in_order(stage, rnd)


@pytest.mark.timeout(200)
def test_after_all_that_nothing_is_lost_double_or_wrong_and_nobody_was_paged_twice(stage):
    stage.live_again()
    produced = sum(len(account.spans) for account in stage.unload())
    verdict = rested(stage, idle=0)
    assert verdict.good, "\n".join([str(verdict._replace(differences=[])), *verdict.differences[:20]])
    assert verdict.produced == produced > 1000
    assert verdict.dropped == 0
