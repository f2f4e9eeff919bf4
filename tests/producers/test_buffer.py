from threading import Thread

from spanloom.buffer import Buffer, Ended, Events, Tally
from spanloom.trace import Receipt, Trace

SPAN: Ended = (Trace("0" * 31 + "1", 1, "", {}), 1, None, False, "x", "other", 0, 1, {}, None, None, 0)


def test_a_buffer_holds_no_more_bytes_than_it_is_given_and_counts_the_rest() -> None:
    buffer = Buffer(10 * 1024)
    for _ in range(25):
        buffer.put(SPAN, 700)
    assert (len(buffer), buffer.refusals.queue_full.read()) == (10, 15)


def test_a_large_span_takes_the_room_of_many() -> None:
    buffer = Buffer(100 * 1024)
    for _ in range(50):
        buffer.put(SPAN, 20 * 1024 + 1)
    taken = sum(1 for _ in iter(buffer.take, None))
    assert (taken, buffer.refusals.queue_full.read()) == (5, 45)


def test_a_span_is_lightened_without_touching_what_the_host_still_holds() -> None:
    buffer = Buffer(16 * 1024)
    events: Events = [("log", 1, (("message", "x" * 3000),))]
    heavy: Ended = (*SPAN[:8], {"a": "b"}, events, None, 0)  # type: ignore[assignment]
    taken = [buffer.put(heavy, 5000) for _ in range(5)]
    found = [span for span in iter(buffer.take, None) if isinstance(span, tuple)]
    assert taken == [True] * 4 + [False]
    assert [span[9] for span in found] == [events] * 3 + [None]
    assert len(events) == 1


def test_a_span_that_somebody_waits_for_is_taken_whole_or_not_at_all() -> None:
    buffer = Buffer(16 * 1024)
    trace = Trace("0" * 31 + "1", 1, "", {})
    trace.receipt = Receipt(16, lambda _: None)
    events: Events = [("log", 1, (("message", "x" * 100),))]
    awaited: Ended = (trace, *SPAN[1:9], events, None, 0)  # type: ignore[assignment]
    taken = [buffer.put(awaited, 1000) for _ in range(17)]
    assert taken == [True] * 16 + [False]
    assert all(span is awaited for span in iter(buffer.take, None))


def test_what_was_taken_leaves_room() -> None:
    buffer = Buffer(2 * 1024)
    for _ in range(5):
        buffer.put(SPAN, 2000)
        assert buffer.take() is SPAN
        assert buffer.take() is None
    assert buffer.refusals.queue_full.read() == 0


def test_a_closed_buffer_refuses_for_its_reason() -> None:
    buffer = Buffer(1 << 20)
    buffer.close("shutdown")
    buffer.put(SPAN, 1)
    assert (buffer.take(), buffer.refusals.shutdown.read(), buffer.refusals.queue_full.read()) == (None, 1, 0)


def test_a_tally_misses_nothing_between_threads_and_reads() -> None:
    tally = Tally()

    def raise_often() -> None:
        for _ in range(5000):
            tally.add()

    threads = [Thread(target=raise_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert 0 <= tally.read() <= 20_000
    assert (tally.read(), tally.read()) == (20_000, 20_000)
