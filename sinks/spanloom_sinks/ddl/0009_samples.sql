-- One row a quantity of a machine or GPU in ten seconds, as its probe summed it up; a message that comes twice counts once.
CREATE TABLE IF NOT EXISTS samples
(
    environment LowCardinality(String),
    host LowCardinality(String),
    gpu_id LowCardinality(String) COMMENT 'NVML''s index; empty: the machine itself',
    quantity LowCardinality(String) COMMENT 'utilization: 10^-6; memory, network: bytes; power: mW; temperature: °C',
    start DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    epoch Int64 COMMENT 'of the probe' CODEC(ZSTD(1)),
    gpu_uuid LowCardinality(String),
    gpu_model LowCardinality(String),
    count Int64 COMMENT 'readings' CODEC(T64, ZSTD(1)),
    failed Int64 COMMENT 'readings that the device did not answer' CODEC(T64, ZSTD(1)),
    sum Nullable(Int64) CODEC(ZSTD(1)),
    lowest Nullable(Int64) CODEC(ZSTD(1)),
    highest Nullable(Int64) CODEC(ZSTD(1)),
    sdk LowCardinality(String),
    log_time DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(start)
ORDER BY (environment, host, quantity, gpu_id, start, epoch)
TTL toDateTime(start) + toIntervalDay(90)
SETTINGS ttl_only_drop_parts = 1;
