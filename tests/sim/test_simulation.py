"""However processes die, sleep and lose their places, the tables hold the truth and alerts are those of a backtest."""

import logging
from collections.abc import Iterator

import pytest

from tests.sim import run
from tests.sim.mutations import MUTATIONS
from tests.sim.story import story

QUICK = range(16)
TRIED = 40
"""Stories in which a law left out must break something, at the latest."""

REGRESSIONS = {
    7: "feedback of an amended trace lay outside of its segments' time, and was forgotten",
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("seed", [*QUICK])
def test_after_any_story_the_tables_hold_the_truth(seed: int) -> None:
    told = story(seed)
    wrong = run.broken(told)
    assert not wrong, "\n" + run.in_words(told, *run.shortest(told))


@pytest.mark.parametrize("name", MUTATIONS)
def test_with_a_law_left_out_some_story_breaks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation = MUTATIONS[name]
    mutation.apply(monkeypatch.setattr)
    seeds = [mutation.seed, *(seed for seed in range(TRIED) if seed != mutation.seed)]
    assert any(run.broken(story(seed, mutation.focus), calmly=False) for seed in seeds)


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_same_story_is_whole_with_the_law(name: str) -> None:
    mutation = MUTATIONS[name]
    assert not run.broken(story(mutation.seed, mutation.focus), calmly=False)
