-- The ledger: one row a message of llm.spans. (producer, epoch, sequence) names a message; a message sent twice is two rows.
CREATE TABLE IF NOT EXISTS batches
(
    producer LowCardinality(String),
    epoch Int64 CODEC(ZSTD(1)),
    sequence Int64 CODEC(Delta, ZSTD(1)),
    service LowCardinality(String),
    environment LowCardinality(String),
    host LowCardinality(String),
    version LowCardinality(String),
    sdk LowCardinality(String),
    sent DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    made Int64 COMMENT 'spans made so far in the epoch' CODEC(Delta, ZSTD(1)),
    dropped_items Array(Tuple(reason String, spans Int64)) EPHEMERAL,
    dropped Map(LowCardinality(String), Int64) DEFAULT CAST(dropped_items, 'Map(LowCardinality(String), Int64)')
        COMMENT 'spans dropped so far in the epoch, by reason' CODEC(ZSTD(1)),
    given_up Array(Int64) COMMENT 'sequence numbers whose delivery was given up; their spans are in dropped' CODEC(ZSTD(1)),
    last Bool COMMENT 'the epoch ended cleanly with this message',
    spans Int64 COMMENT 'in this message' CODEC(T64, ZSTD(1)),
    topic_id LowCardinality(String),
    partition Int32,
    offset Int64 CODEC(Delta, ZSTD(1)),
    log_time DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    log_clock DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(log_time)
ORDER BY (producer, epoch, sequence, topic_id, partition, offset)
TTL toDateTime(log_time) + toIntervalDay(90)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;
