-- One row a span: wide, denormalised, immutable. The same span sent twice is two rows until a merge, one row under FINAL:
-- a copy that is not future-dated wins, then the copy with the lowest offset, then the first in its message.
-- Absent text is '', an unknown number is NULL. Columns have the names of the span frame (spanloom_schemas.frames.spans).
CREATE TABLE IF NOT EXISTS spans
(
    trace_id String CODEC(ZSTD(3)),
    span_id String CODEC(ZSTD(3)),
    parent_id String COMMENT 'empty: the root of its trace' CODEC(ZSTD(3)),
    parent_remote Bool,
    name LowCardinality(String),
    kind LowCardinality(String) COMMENT 'the stage',
    otel_kind LowCardinality(String),
    request Bool COMMENT 'a service-entry span',
    start DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    end DateTime64(9, 'UTC') COMMENT 'the event time' CODEC(Delta, ZSTD(1)),
    duration Int64 ALIAS greatest(0, toUnixTimestamp64Nano(end) - toUnixTimestamp64Nano(start)) COMMENT 'ns',
    status LowCardinality(String),
    error Bool,
    error_type LowCardinality(String),

    service LowCardinality(String),
    environment LowCardinality(String),
    host LowCardinality(String),
    version LowCardinality(String) COMMENT 'of the service',
    producer LowCardinality(String),

    request_id String CODEC(ZSTD(1)),
    session_id String CODEC(ZSTD(1)),
    user String COMMENT 'HMAC' CODEC(ZSTD(1)),
    tenant LowCardinality(String),
    experiment LowCardinality(String),
    run_id LowCardinality(String),
    dataset_id LowCardinality(String),

    prompt_id LowCardinality(String),
    prompt_version LowCardinality(String),
    context_truncated Bool,
    system_tokens Nullable(Int64) CODEC(T64, ZSTD(1)),
    instructions_tokens Nullable(Int64) CODEC(T64, ZSTD(1)),
    few_shot_tokens Nullable(Int64) CODEC(T64, ZSTD(1)),
    context_tokens Nullable(Int64) CODEC(T64, ZSTD(1)),
    user_tokens Nullable(Int64) CODEC(T64, ZSTD(1)),

    provider LowCardinality(String),
    request_model LowCardinality(String),
    response_model LowCardinality(String),
    model LowCardinality(String) COMMENT 'answered, else asked',
    model_version LowCardinality(String),
    service_tier LowCardinality(String),
    temperature Nullable(Float64) CODEC(ZSTD(1)),
    top_p Nullable(Float64) CODEC(ZSTD(1)),
    max_tokens Nullable(Int64) CODEC(T64, ZSTD(1)),
    usage LowCardinality(String) COMMENT 'where the token counts come from: measured, estimated, unknown',
    input_tokens Nullable(Int64) COMMENT 'neither read from nor written to a cache' CODEC(T64, ZSTD(1)),
    cache_read_tokens Nullable(Int64) CODEC(T64, ZSTD(1)),
    cache_write_tokens Nullable(Int64) CODEC(T64, ZSTD(1)),
    output_tokens Nullable(Int64) COMMENT 'without reasoning' CODEC(T64, ZSTD(1)),
    reasoning_tokens Nullable(Int64) CODEC(T64, ZSTD(1)),
    cached Bool COMMENT 'answered from the application''s own cache',
    batch_size Nullable(Int64) CODEC(T64, ZSTD(1)),
    ttft Nullable(Int64) COMMENT 'ns' CODEC(T64, ZSTD(1)),
    tpot Nullable(Int64) COMMENT 'ns' CODEC(T64, ZSTD(1)),
    finish_reasons Array(LowCardinality(String)),
    cost Nullable(Int64) COMMENT 'nano-dollars; NULL: unknown' CODEC(T64, ZSTD(1)),
    cost_status LowCardinality(String) COMMENT 'priced, unpriced, free, none',
    price_version LowCardinality(String),

    retriever_k Nullable(Int64) CODEC(T64, ZSTD(1)),
    documents Array(Tuple(id String, score Nullable(Float64), cited Bool)) CODEC(ZSTD(1)),
    tool_name LowCardinality(String),
    blocked Bool,
    block_reason LowCardinality(String),
    scores Array(Tuple(name LowCardinality(String), value Float64)) CODEC(ZSTD(1)),
    events Array(Tuple(name LowCardinality(String), time DateTime64(9, 'UTC'), attributes Map(LowCardinality(String), String)))
        DEFAULT arrayMap(e -> (e.name, e.time, CAST(e.attributes, 'Map(LowCardinality(String), String)')), event_items) CODEC(ZSTD(1)),
    links Array(Tuple(trace_id String, span_id String, attributes Map(LowCardinality(String), String)))
        DEFAULT arrayMap(l -> (l.trace_id, l.span_id, CAST(l.attributes, 'Map(LowCardinality(String), String)')), link_items) CODEC(ZSTD(1)),
    attributes Map(LowCardinality(String), String)
        DEFAULT CAST(attribute_items, 'Map(LowCardinality(String), String)') CODEC(ZSTD(1)),
    input_hash String CODEC(ZSTD(1)),
    output_hash String CODEC(ZSTD(1)),
    input String COMMENT 'sanitized' CODEC(ZSTD(3)),
    output String COMMENT 'sanitized' CODEC(ZSTD(3)),

    timeliness Enum8('on_time' = 0, 'late' = 1, 'future_dated' = 2) COMMENT 'against the log clock; only on_time spans are in panes',
    topic_id LowCardinality(String),
    partition Int32 CODEC(ZSTD(1)),
    offset Int64 COMMENT 'of the message' CODEC(Delta, ZSTD(1)),
    position UInt32 COMMENT 'in the message' CODEC(T64, ZSTD(1)),
    log_time DateTime64(3, 'UTC') COMMENT 'the broker''s' CODEC(Delta, ZSTD(1)),
    log_clock DateTime64(3, 'UTC') COMMENT 'running maximum of log times in the partition, this message included' CODEC(Delta, ZSTD(1)),
    precedence UInt64 MATERIALIZED (timeliness != 'future_dated') * bitShiftLeft(1::UInt64, 62)
        + bitShiftLeft(1::UInt64, 62) - 1 - offset * bitShiftLeft(1::UInt64, 20) - position
        COMMENT 'of two copies of a span the higher is the truth' CODEC(Delta, ZSTD(1)),

    -- What an insert brings: Arrow as polars writes it has no maps.
    attribute_items Array(Tuple(key String, value String)) EPHEMERAL,
    event_items Array(Tuple(name String, time DateTime64(9, 'UTC'), attributes Array(Tuple(key String, value String)))) EPHEMERAL,
    link_items Array(Tuple(trace_id String, span_id String, attributes Array(Tuple(key String, value String)))) EPHEMERAL,

    INDEX by_trace trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_start start TYPE minmax GRANULARITY 1,
    INDEX by_offset offset TYPE minmax GRANULARITY 1,
    INDEX by_timeliness timeliness TYPE set(3) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(precedence)
PARTITION BY toDate(log_time)
ORDER BY (toStartOfMinute(end), trace_id, kind, span_id)
TTL toDateTime(log_time) + toIntervalDay(7)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000, min_bytes_for_wide_part = 64000000;
