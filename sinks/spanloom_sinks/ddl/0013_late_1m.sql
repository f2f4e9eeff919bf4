-- Late spans of a minute and key that came on one day, summed up before `spans` loses them (docs/adr/0072).
CREATE TABLE IF NOT EXISTS late_1m
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
    day Date COMMENT 'of their log times',
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
    precedence UInt64 MATERIALIZED toUInt64(spans) COMMENT 'a day folded twice: the fuller one holds'
)
ENGINE = ReplacingMergeTree(precedence)
PARTITION BY toYYYYMM(day)
ORDER BY (start, environment, service, kind, request, model, prompt_id, prompt_version, tenant, experiment, run_id, day)
TTL day + toIntervalDay(90)
SETTINGS ttl_only_drop_parts = 1;

-- Days that are folded, which none ceases to be: from the last one back, late spans are in late_1m, behind it in `spans`.
CREATE TABLE IF NOT EXISTS late_1m_folded
(
    day Date
)
ENGINE = ReplacingMergeTree
ORDER BY day;
