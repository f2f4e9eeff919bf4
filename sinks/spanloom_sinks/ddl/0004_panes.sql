-- 10 s of one source partition and one key; an upsert: the higher (revision, spans, final) is the truer.
-- Rows with a late_offset are what arrived late in one message; alerts use them. Totals take late spans from `spans`, where each
-- counts once (docs/adr/0072-roll-ups.md).
CREATE TABLE IF NOT EXISTS panes
(
    start DateTime('UTC') CODEC(Delta, ZSTD(1)),
    environment LowCardinality(String),
    service LowCardinality(String),
    kind LowCardinality(String),
    request Bool COMMENT 'service-entry spans',
    model LowCardinality(String),
    prompt_id LowCardinality(String),
    prompt_version LowCardinality(String),
    tenant LowCardinality(String),
    experiment LowCardinality(String),
    run_id LowCardinality(String),
    topic_id LowCardinality(String),
    partition Int32,
    late_offset Int64 COMMENT '-1: a pane; else offset of the message whose late spans these are',
    revision Int32,
    final Bool COMMENT 'closed for good by the log clock',
    spans Int64 CODEC(T64, ZSTD(1)),
    errors Int64 CODEC(T64, ZSTD(1)),
    blocks Int64 CODEC(T64, ZSTD(1)),
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
    documents Int64 COMMENT 'retrieved' CODEC(T64, ZSTD(1)),
    cited Int64 CODEC(T64, ZSTD(1)),
    cost Int64 COMMENT 'nano-dollars' CODEC(T64, ZSTD(1)),
    unpriced Int64 COMMENT 'spans that use tokens and have no price' CODEC(T64, ZSTD(1)),
    estimated Int64 CODEC(T64, ZSTD(1)),
    duration Int64 COMMENT 'ns, sum' CODEC(T64, ZSTD(1)),
    ttft Int64 COMMENT 'ns, sum' CODEC(T64, ZSTD(1)),
    tpot Int64 COMMENT 'ns, sum' CODEC(T64, ZSTD(1)),
    duration_sketch Array(Tuple(index Int32, count Int64)) CODEC(ZSTD(1)),
    ttft_sketch Array(Tuple(index Int32, count Int64)) CODEC(ZSTD(1)),
    tpot_sketch Array(Tuple(index Int32, count Int64)) CODEC(ZSTD(1)),
    latency_le Array(Int64) COMMENT 'spans by bucket of llm_request_latency_seconds, not cumulative' CODEC(ZSTD(1)),
    scores Array(Tuple(name LowCardinality(String), count Int64, sum Int64)) COMMENT 'sums x 10^6' CODEC(ZSTD(1)),
    block_reasons Array(Tuple(reason LowCardinality(String), count Int64)) CODEC(ZSTD(1)),
    worst Array(Tuple(why LowCardinality(String), value Int64, trace_id String, span_id String)) CODEC(ZSTD(1)),
    log_clock DateTime64(3, 'UTC') COMMENT 'of the source partition when emitted' CODEC(Delta, ZSTD(1)),
    log_time DateTime64(3, 'UTC') COMMENT 'of the message of llm.panes' CODEC(Delta, ZSTD(1)),
    precedence UInt64 MATERIALIZED bitShiftLeft(toUInt64(revision), 42) + bitShiftLeft(toUInt64(spans), 1) + final
)
ENGINE = ReplacingMergeTree(precedence)
PARTITION BY toYYYYMM(log_time)
ORDER BY (start, environment, service, kind, request, model, prompt_id, prompt_version, tenant, experiment, run_id, topic_id, partition, late_offset)
TTL toDateTime(log_time) + toIntervalDay(90)
SETTINGS ttl_only_drop_parts = 1;

-- A minute of one key over all partitions, late spans included: what the views of windows read.
CREATE TABLE IF NOT EXISTS panes_1m
(
    start DateTime('UTC') CODEC(Delta, ZSTD(1)),
    environment LowCardinality(String),
    service LowCardinality(String),
    kind LowCardinality(String),
    request Bool COMMENT 'service-entry spans',
    model LowCardinality(String),
    prompt_id LowCardinality(String),
    prompt_version LowCardinality(String),
    tenant LowCardinality(String),
    experiment LowCardinality(String),
    run_id LowCardinality(String),
    revision Int64 COMMENT 'sum of the revisions of the panes in it: what a higher one left out has 0 spans',
    spans Int64 CODEC(T64, ZSTD(1)),
    errors Int64 CODEC(T64, ZSTD(1)),
    blocks Int64 CODEC(T64, ZSTD(1)),
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
    documents Int64 COMMENT 'retrieved' CODEC(T64, ZSTD(1)),
    cited Int64 CODEC(T64, ZSTD(1)),
    cost Int64 COMMENT 'nano-dollars' CODEC(T64, ZSTD(1)),
    unpriced Int64 COMMENT 'spans that use tokens and have no price' CODEC(T64, ZSTD(1)),
    estimated Int64 CODEC(T64, ZSTD(1)),
    duration Int64 COMMENT 'ns, sum' CODEC(T64, ZSTD(1)),
    ttft Int64 COMMENT 'ns, sum' CODEC(T64, ZSTD(1)),
    tpot Int64 COMMENT 'ns, sum' CODEC(T64, ZSTD(1)),
    duration_sketch Array(Tuple(index Int32, count Int64)) CODEC(ZSTD(1)),
    ttft_sketch Array(Tuple(index Int32, count Int64)) CODEC(ZSTD(1)),
    tpot_sketch Array(Tuple(index Int32, count Int64)) CODEC(ZSTD(1)),
    latency_le Array(Int64) COMMENT 'spans by bucket of llm_request_latency_seconds, not cumulative' CODEC(ZSTD(1)),
    scores Array(Tuple(name LowCardinality(String), count Int64, sum Int64)) COMMENT 'sums x 10^6' CODEC(ZSTD(1)),
    block_reasons Array(Tuple(reason LowCardinality(String), count Int64)) CODEC(ZSTD(1)),
    worst Array(Tuple(why LowCardinality(String), value Int64, trace_id String, span_id String)) CODEC(ZSTD(1)),
    precedence UInt64 MATERIALIZED bitShiftLeft(toUInt64(revision), 42) + toUInt64(spans)
)
ENGINE = ReplacingMergeTree(precedence)
PARTITION BY toYYYYMM(start)
ORDER BY (start, environment, service, kind, request, model, prompt_id, prompt_version, tenant, experiment, run_id)
TTL start + toIntervalDay(400)
SETTINGS ttl_only_drop_parts = 1;

-- An hour of one key over all partitions, late spans included: what the views of windows read.
CREATE TABLE IF NOT EXISTS panes_1h
(
    start DateTime('UTC') CODEC(Delta, ZSTD(1)),
    environment LowCardinality(String),
    service LowCardinality(String),
    kind LowCardinality(String),
    request Bool COMMENT 'service-entry spans',
    model LowCardinality(String),
    prompt_id LowCardinality(String),
    prompt_version LowCardinality(String),
    tenant LowCardinality(String),
    experiment LowCardinality(String),
    run_id LowCardinality(String),
    revision Int64 COMMENT 'sum of the revisions of the panes in it: what a higher one left out has 0 spans',
    spans Int64 CODEC(T64, ZSTD(1)),
    errors Int64 CODEC(T64, ZSTD(1)),
    blocks Int64 CODEC(T64, ZSTD(1)),
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
    documents Int64 COMMENT 'retrieved' CODEC(T64, ZSTD(1)),
    cited Int64 CODEC(T64, ZSTD(1)),
    cost Int64 COMMENT 'nano-dollars' CODEC(T64, ZSTD(1)),
    unpriced Int64 COMMENT 'spans that use tokens and have no price' CODEC(T64, ZSTD(1)),
    estimated Int64 CODEC(T64, ZSTD(1)),
    duration Int64 COMMENT 'ns, sum' CODEC(T64, ZSTD(1)),
    ttft Int64 COMMENT 'ns, sum' CODEC(T64, ZSTD(1)),
    tpot Int64 COMMENT 'ns, sum' CODEC(T64, ZSTD(1)),
    duration_sketch Array(Tuple(index Int32, count Int64)) CODEC(ZSTD(1)),
    ttft_sketch Array(Tuple(index Int32, count Int64)) CODEC(ZSTD(1)),
    tpot_sketch Array(Tuple(index Int32, count Int64)) CODEC(ZSTD(1)),
    latency_le Array(Int64) COMMENT 'spans by bucket of llm_request_latency_seconds, not cumulative' CODEC(ZSTD(1)),
    scores Array(Tuple(name LowCardinality(String), count Int64, sum Int64)) COMMENT 'sums x 10^6' CODEC(ZSTD(1)),
    block_reasons Array(Tuple(reason LowCardinality(String), count Int64)) CODEC(ZSTD(1)),
    worst Array(Tuple(why LowCardinality(String), value Int64, trace_id String, span_id String)) CODEC(ZSTD(1)),
    precedence UInt64 MATERIALIZED bitShiftLeft(toUInt64(revision), 42) + toUInt64(spans)
)
ENGINE = ReplacingMergeTree(precedence)
PARTITION BY toYYYYMM(start)
ORDER BY (start, environment, service, kind, request, model, prompt_id, prompt_version, tenant, experiment, run_id)
TTL start + toIntervalDay(4000)
SETTINGS ttl_only_drop_parts = 1;
