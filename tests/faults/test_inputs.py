"""Bad and odd input on one line, between good spans; then nothing is lost, double or wrong, and no process has ended.

`make soak` tries each on a line of its own, and more of it.
"""

import os
import random
from collections.abc import Iterator

import pytest

from tests.faults import inputs
from tests.faults.stage import Stage, staged
from tests.faults.verdict import rested

SEED = int(os.environ.get("SEED", "1"))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("line")) as stage:
        stage.load(SEED, producers=1, late=0)
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


@pytest.mark.timeout(200)
def test_after_all_that_nothing_is_lost_double_or_wrong(stage):
    produced = sum(len(account.spans) for account in stage.unload())
    verdict = rested(stage)
    assert verdict.good, "\n".join(
        [str(verdict._replace(differences=[])), *(line[:300] for line in verdict.differences[:20])]
    )
    assert verdict.produced == produced > 100
    assert verdict.dropped == 0
