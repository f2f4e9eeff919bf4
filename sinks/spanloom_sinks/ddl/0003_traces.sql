-- One row a segment of a trace, as the processors assembled it: an upsert by (trace_id, topic_id, partition, first_offset).
-- A trace in several segments is summed up again from `spans`: its first segment's row then carries the whole trace (amended),
-- the others are superseded. The view `trace_summaries` holds one truth a trace.
CREATE TABLE IF NOT EXISTS traces
(
    trace_id String CODEC(ZSTD(1)),
    topic_id LowCardinality(String),
    partition Int32 CODEC(ZSTD(1)),
    first_offset Int64 CODEC(Delta, ZSTD(1)),
    spans Int64 CODEC(T64, ZSTD(1)),
    environment LowCardinality(String),
    service LowCardinality(String) COMMENT 'of the root, or of the first span',
    name LowCardinality(String) COMMENT 'of the root, or of the first span',
    start DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    end DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    duration Int64 COMMENT 'ns' CODEC(T64, ZSTD(1)),
    state LowCardinality(String) COMMENT 'complete, partial',
    reason LowCardinality(String) COMMENT 'why partial',
    status LowCardinality(String),
    errors Int64 CODEC(T64, ZSTD(1)),
    blocks Int64 CODEC(T64, ZSTD(1)),
    block_reason LowCardinality(String),
    request_id String CODEC(ZSTD(1)),
    session_id String CODEC(ZSTD(1)),
    user String CODEC(ZSTD(1)),
    tenant LowCardinality(String),
    experiment LowCardinality(String),
    run_id LowCardinality(String),
    prompt_id LowCardinality(String),
    prompt_version LowCardinality(String),
    models Array(LowCardinality(String)),
    input_tokens Int64 CODEC(T64, ZSTD(1)),
    cache_read_tokens Int64 CODEC(T64, ZSTD(1)),
    cache_write_tokens Int64 CODEC(T64, ZSTD(1)),
    output_tokens Int64 CODEC(T64, ZSTD(1)),
    reasoning_tokens Int64 CODEC(T64, ZSTD(1)),
    system_tokens Int64 CODEC(T64, ZSTD(1)),
    instructions_tokens Int64 CODEC(T64, ZSTD(1)),
    few_shot_tokens Int64 CODEC(T64, ZSTD(1)),
    context_tokens Int64 CODEC(T64, ZSTD(1)),
    user_tokens Int64 CODEC(T64, ZSTD(1)),
    cache_hits Int64 CODEC(T64, ZSTD(1)),
    documents Int64 CODEC(T64, ZSTD(1)),
    cited Int64 CODEC(T64, ZSTD(1)),
    cost Nullable(Int64) COMMENT 'nano-dollars' CODEC(T64, ZSTD(1)),
    unpriced Int64 CODEC(T64, ZSTD(1)),
    estimated Int64 CODEC(T64, ZSTD(1)),
    ttft Nullable(Int64) COMMENT 'ns' CODEC(T64, ZSTD(1)),
    stages Array(Tuple(kind LowCardinality(String), spans Int64, duration Int64, self Int64)) CODEC(ZSTD(1)),
    critical_path Array(Tuple(span_id String, name LowCardinality(String), kind LowCardinality(String), self Int64)) CODEC(ZSTD(1)),
    scores Array(Tuple(name LowCardinality(String), value Float64)) CODEC(ZSTD(1)),
    revision Int32,
    log_clock DateTime64(3, 'UTC') COMMENT 'of the source partition when emitted' CODEC(Delta, ZSTD(1)),
    log_time DateTime64(3, 'UTC') COMMENT 'of the message of llm.traces' CODEC(Delta, ZSTD(1)),
    amended Bool COMMENT 'summed up again from spans: stands for all segments of its trace',
    superseded Bool COMMENT 'a segment that an amended row stands for',
    precedence UInt64 MATERIALIZED (amended OR superseded) * bitShiftLeft(1::UInt64, 63)
        + bitShiftLeft(toUInt64(revision), 42) + bitShiftLeft(toUInt64(spans), 1) + superseded,

    INDEX by_trace trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_start start TYPE minmax GRANULARITY 1,
    INDEX by_log_time log_time TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(precedence)
PARTITION BY toYYYYMM(log_time)
ORDER BY (topic_id, partition, first_offset, trace_id)
TTL toDateTime(log_time) + toIntervalDay(90)
SETTINGS ttl_only_drop_parts = 1;
