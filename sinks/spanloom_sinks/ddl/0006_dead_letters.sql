-- What could not be read, whole, once a message and stage.
CREATE TABLE IF NOT EXISTS dead_letters
(
    topic LowCardinality(String),
    topic_id LowCardinality(String),
    partition Int32,
    offset Int64,
    stage LowCardinality(String) COMMENT 'processor or sink',
    reason LowCardinality(String),
    error String,
    key Nullable(String),
    value Nullable(String) CODEC(ZSTD(3)),
    log_time DateTime64(3, 'UTC') COMMENT 'of the message that could not be read',
    at DateTime64(3, 'UTC') COMMENT 'when it was set aside'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (topic, topic_id, partition, offset, stage)
TTL toDateTime(at) + toIntervalDay(30)
SETTINGS ttl_only_drop_parts = 1;
