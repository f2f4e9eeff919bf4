from collections import Counter

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from spanloom_processors.core.drops import METADATA_BYTES, Drops

PARTITIONS = 4
DROPPED = pl.List(pl.Struct({"reason": pl.String, "spans": pl.Int64}))


def headers(*said: tuple[int, dict[str, int]]) -> pl.DataFrame:
    rows = [(epoch, [{"reason": reason, "spans": n} for reason, n in so_far.items()]) for epoch, so_far in said]
    return pl.DataFrame(rows, schema={"epoch": pl.Int64, "dropped": DROPPED}, orient="row")


def test_growth_is_told_once_by_reason():
    drops = Drops(1, PARTITIONS)
    drops.hear(headers((5, {"queue_full": 3}), (5, {"queue_full": 3, "timeout": 1}), (9, {"queue_full": 2})))
    assert drops.grown() == {"queue_full": 5, "timeout": 1}
    drops.hear(headers((5, {"queue_full": 2}), (5, {"queue_full": 4, "timeout": 1})))  # an older one, read again
    assert drops.grown() == {"queue_full": 1}
    assert drops.grown() == {}


@given(
    said=st.lists(
        st.tuples(st.integers(-(2**63), 2**63 - 1), st.sampled_from(["queue_full", "timeout"]), st.integers(0, 50)),
        max_size=20,
    ),
    data=st.data(),
)
@settings(max_examples=40)
def test_over_all_partitions_and_restarts_each_drop_counts_once(said, data):
    """Every producer tells every partition, workers end at any message, and some is read again."""
    partitions = [Drops(number, PARTITIONS) for number in range(PARTITIONS)]
    counted: Counter[str] = Counter()
    so_far: dict[int, Counter[str]] = {}
    log = []
    for epoch, reason, more in said:
        so_far.setdefault(epoch, Counter())[reason] += more
        log.append(headers((epoch, dict(so_far[epoch]))))
        begin = data.draw(st.integers(0, len(log) - 1))
        for number in range(PARTITIONS):
            if data.draw(st.booleans()):
                partitions[number] = Drops(number, PARTITIONS, partitions[number].encode())
            for each in log[begin:]:
                partitions[number].hear(each)
            counted += partitions[number].grown()
    assert counted == sum(so_far.values(), Counter())


def test_what_fits_into_a_commit_is_what_was_heard_last():
    drops = Drops(0, 1)
    drops.hear(headers(*((epoch, {"queue_full": 1_000_000 + epoch}) for epoch in range(5_000))))
    drops.grown()
    said = drops.encode()
    assert len(said) <= METADATA_BYTES
    again = Drops(0, 1, said)
    again.hear(headers(*((epoch, {"queue_full": 1_000_000 + epoch}) for epoch in range(4_800, 5_000))))
    assert again.grown() == {}
    again.hear(headers((0, {"queue_full": 1_000_000})))
    assert again.grown() == {"queue_full": 1_000_000}


def test_metadata_that_nobody_wrote_is_none():
    drops = Drops(0, 1, "what:ever,::,a:-1,b:2")
    assert drops.encode() == "b:2"
