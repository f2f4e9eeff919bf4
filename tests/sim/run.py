"""`python -m tests.sim.run --seeds N --seed S`: a line for each story that breaks, one for all in the end."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from functools import cache

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # frames are tiny; must be set before polars is imported

from spanloom_schemas.prices.book import Book

from tests.sim import judge
from tests.sim.story import Step, Story, story
from tests.sim.world import World

# A rule of each kind. What is unusual for a group shows in stories with half an hour to learn from.
RULES = """
rules:
  - {name: Slow, metric: request_p95, group_by: [service], window: 20s, for: 20s, minimum: 2, above: 1s, severity: info}
  - {name: Errors, metric: error_rate, group_by: [service], window: 30s, minimum: 3, above: 20%, severity: info}
  - {name: Spend, metric: cost, group_by: [service], window: 20s, above: $1, severity: info}
  - {name: Failed, metric: errors, window: 20s, above: 2, severity: info}
  - {name: Gone, metric: spans, group_by: [service], window: 20s, absent: true, severity: info}
  - {name: Day, metric: cost, budget: {period: day, limit: $4}, severity: info}
  - {name: Dear, metric: trace_cost, group_by: [service], window: 20s, above: $1, severity: info}
  - {name: Blocked, metric: block_rate, group_by: [service], window: 30s, band: {p_value: 0.01}, severity: info}
  - {name: Costly, metric: cost_per_minute, group_by: [service], window: 20s, band: {side: both}, severity: info}
"""


@cache
def book() -> Book:
    """The price book."""
    return Book.load()


def broken(told: Story, steps: Sequence[Step] | None = None, *, calmly: bool = True) -> list[str]:
    """What is wrong after a story, or after some of its steps; empty: nothing.

    `calmly`: compare also with a world in which the same messages came and nothing else happened.
    """
    world = World(told.partitions, book(), RULES, told.steps if steps is None else steps, compacting=told.compacting)
    return judged(world, calmly=calmly)


def judged(world: World, *, calmly: bool = True) -> list[str]:
    """Let a world happen and come to rest, and say what is wrong then."""
    world.run()
    found = list(judge.settle(world))
    truth = judge.truth(world)
    found += judge.differences(world, truth)
    found += judge.alert_differences(world)
    if calmly and not found and not (world.trimmed or world.recreated or len(world.shelf) > 1):
        found += judge.disagreements(world, judge.calm(world))
    return found


def shortest(told: Story) -> tuple[list[Step], list[str]]:
    """The shortest story that still breaks, found by leaving steps out; and what is wrong after it."""
    steps, wrong = list(told.steps), broken(told)
    size = max(1, len(steps) // 2)
    while size:
        at = 0
        while at < len(steps):
            fewer = steps[:at] + steps[at + size :]
            still = broken(told, fewer)
            if still:
                steps, wrong = fewer, still
            else:
                at += size
        size //= 2
    return steps, wrong


def in_words(told: Story, steps: Sequence[Step], wrong: Sequence[str]) -> str:
    """A story for people: what happened, and what is wrong then."""
    world = World(told.partitions, book(), RULES, steps, compacting=told.compacting)
    world.run()
    lines = [f"seed {told.seed}, {told.partitions} partitions:", *(f"  {line}" for line in world.story), "then:"]
    return "\n".join([*lines, *(f"  {line}" for line in wrong[:10])])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stories of some seeds; 1 if any breaks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=50, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="the first")
    parser.add_argument("--shrink", action="store_true", help="print the shortest story of each that breaks")
    given = parser.parse_args(arguments)
    logging.disable(logging.ERROR)  # a story's faults are no news
    failed = 0
    for seed in range(given.seed, given.seed + given.seeds):
        told = story(seed)
        wrong = broken(told)
        if wrong:
            failed += 1
            print(f"seed {seed}: {len(wrong)} wrong, first: {wrong[0]}", flush=True)
            if given.shrink:
                print(in_words(told, *shortest(told)), flush=True)
    print(f"sim: {given.seeds} seeds, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
