-- An hour of one user's traces through one pipeline (a service and the name of its root span), each trace once: an upsert, the
-- later summed up the truer. `spanloom_sinks.trace_hours` sums an hour up when it is over, and again when it changes.
CREATE TABLE IF NOT EXISTS traces_1h
(
    start DateTime('UTC') CODEC(Delta, ZSTD(1)),
    environment LowCardinality(String),
    tenant LowCardinality(String),
    service LowCardinality(String) COMMENT 'of the root',
    name LowCardinality(String) COMMENT 'of the root',
    user String CODEC(ZSTD(1)),
    version UInt64 CODEC(Delta, ZSTD(1)),
    traces Int64 COMMENT '0: no longer any' CODEC(T64, ZSTD(1)),
    spans Int64 CODEC(T64, ZSTD(1)),
    failed Int64 COMMENT 'traces whose root failed' CODEC(T64, ZSTD(1)),
    blocked Int64 COMMENT 'traces with a block' CODEC(T64, ZSTD(1)),
    unpriced_traces Int64 COMMENT 'traces with a span that has no price' CODEC(T64, ZSTD(1)),
    input_tokens Int64 CODEC(T64, ZSTD(1)),
    cache_read_tokens Int64 CODEC(T64, ZSTD(1)),
    cache_write_tokens Int64 CODEC(T64, ZSTD(1)),
    output_tokens Int64 CODEC(T64, ZSTD(1)),
    reasoning_tokens Int64 CODEC(T64, ZSTD(1)),
    cost Int64 COMMENT 'nano-dollars' CODEC(T64, ZSTD(1)),
    unpriced Int64 COMMENT 'spans that use tokens and have no price' CODEC(T64, ZSTD(1)),
    duration Int64 COMMENT 'ns, sum' CODEC(T64, ZSTD(1)),
    stages Array(Tuple(kind LowCardinality(String), spans Int64, duration Int64, self Int64)) CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(start)
ORDER BY (start, environment, tenant, service, name, user)
TTL start + toIntervalDay(400)
SETTINGS ttl_only_drop_parts = 1;

-- Hours that are summed up whole, which none ceases to be: the last one is how far traces_1h may be read.
CREATE TABLE IF NOT EXISTS traces_1h_closed
(
    start DateTime('UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY start;
