"""Whatever kills the sink, and whenever: every span once, without FINAL, and a ledger that balances."""

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
