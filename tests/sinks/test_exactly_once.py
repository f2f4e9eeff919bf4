"""Whatever kills the sink, and whenever: every span once, without FINAL, and a ledger that balances."""

import threading

import pytest

POINTS = ["sink.before_pending", "sink.after_pending", "sink.mid_insert", "sink.after_insert", "sink.after_commit:2"]


def counts(store, producer):
    rows = store.query(
        "SELECT count() AS rows, uniqExact(span_id) AS spans, uniqExact(offset, partition, position) AS places "
        "FROM spans WHERE producer = {producer:String}",
        producer=producer,
    )
    messages = store.query("SELECT count() FROM batches WHERE producer = {producer:String}", producer=producer)
    return (*rows.row(0), messages.item())


def test_a_sink_that_is_killed_at_any_point_stores_every_span_once(start_sink, store, produce, traffic, eventually):
    producer, sequence = traffic.id(4), 0
    ids = set()
    for point in [*POINTS, None]:
        for _ in range(3):
            spans = [traffic.span() for _ in range(5)]
            ids.update(span["span_id"] for span in spans)
            batch = traffic.encoded(spans, producer=producer, sequence=sequence, made=len(ids), last=sequence == 17)
            produce("llm.spans", [batch], spans[0]["trace_id"])
            sequence += 1
        sink = start_sink(**({"SPANLOOM_FAULT": point} if point else {}))
        if point:
            sink.wait_killed()
    eventually(lambda: counts(store, producer)[0] >= len(ids), sink.log.read_text)
    assert sink.stop() == 0
    assert counts(store, producer) == (len(ids), len(ids), len(ids), 18)
    ledger = store.query(
        "SELECT produced, stored, missing, gaps, tail FROM ledger WHERE producer = {p:String}", p=producer
    )
    assert ledger.rows() == [(90, 90, 0, 0, "closed")]


def test_a_block_is_repeated_with_the_boundaries_it_was_marked_with(start_sink, store, produce, traffic, eventually):
    producer = traffic.id(4)
    trace = traffic.id(16)
    produce("llm.spans", [traffic.encoded([traffic.span(trace_id=trace)], producer=producer)], trace)
    start_sink(SPANLOOM_FAULT="sink.after_insert").wait_killed()
    # More has arrived meanwhile: a block cut anew would be a larger one, under another token.
    produce(
        "llm.spans",
        [traffic.encoded([traffic.span(trace_id=trace)], producer=producer, sequence=n) for n in (2, 3)],
        trace,
    )
    # The table's log of tokens has forgotten: only what is in the table can tell.
    store.command("ALTER TABLE spans MODIFY SETTING non_replicated_deduplication_window = 0")
    try:
        sink = start_sink()
        eventually(lambda: counts(store, producer)[0] >= 3, sink.log.read_text)
        sink.stop()
    finally:
        store.command("ALTER TABLE spans MODIFY SETTING non_replicated_deduplication_window = 10000")
    assert counts(store, producer)[:3] == (3, 3, 3)


def test_a_sink_that_is_asked_to_stop_has_committed_what_it_wrote(start_sink, store, produce, traffic, eventually):
    producer = traffic.id(4)
    span = traffic.span()
    produce("llm.spans", [traffic.encoded([span], producer=producer)], span["trace_id"])
    sink = start_sink()
    sink.wait_ready()
    eventually(lambda: counts(store, producer)[0] == 1, sink.log.read_text)
    assert sink.stop() == 0
    assert "sink: " not in sink.log.read_text()


@pytest.mark.timeout(400)
def test_a_topic_made_anew_is_never_read_on_as_the_old_one(start_sink, store, produce, traffic, eventually):
    """Offsets begin at 0 again: taken for the old ones, its first messages would be left out for ever."""
    producer, trace = traffic.id(4), traffic.id(16)

    def send(sequence, times):
        span = traffic.span(trace_id=trace)
        produce("llm.spans", [traffic.encoded([span], producer=producer, sequence=sequence)] * times, trace)

    def said():
        return counts(store, producer), topic_ids(store, producer), sink.log.read_text()

    send(1, 5)
    sink = start_sink()
    sink.wait_ready()
    eventually(lambda: counts(store, producer)[3] == 5, said)
    before = topic_ids(store, producer)
    produce.make_anew("llm.spans")
    send(2, 3)
    # The group notices, and the sink goes on; or the offsets do, and it ends with a line that says why.
    # A busy machine needs its time: a client waits half a minute before it believes that a topic is gone.
    eventually(lambda: counts(store, producer)[3] == 8 or sink.process.poll() is not None, said, seconds=150)
    if sink.process.poll() is not None:
        assert "begins again at 0" in sink.log.read_text()
        sink = start_sink()
    eventually(lambda: counts(store, producer)[3] == 8, said)
    assert len(topic_ids(store, producer) - before) == 1


def topic_ids(store, producer):
    found = store.query("SELECT DISTINCT topic_id FROM batches WHERE producer = {p:String}", p=producer)
    return set(found["topic_id"])


def test_a_busy_sink_whose_place_another_one_takes_ends_and_says_why(produce, start_sink, traffic):
    taken = threading.Event()

    def keep_busy():
        while not taken.is_set():
            produce("llm.spans", [traffic.encoded([traffic.span()]) for _ in range(30)], "a trace")

    busy = threading.Thread(target=keep_busy)
    busy.start()
    try:
        first = start_sink(SPANLOOM_SINK_LINGER_MS="10")
        first.wait_ready()
        second = start_sink()
        second.wait_ready()
        assert first.process.wait(30) == 1
    finally:
        taken.set()
        busy.join()
    said = first.log.read_text()
    assert "another sink of the same SPANLOOM_SINK_INSTANCE took over" in said, said
    assert second.stop() == 0
