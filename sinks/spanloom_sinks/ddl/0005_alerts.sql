-- One row a transition of an alert; the view `alerts_now` holds the last one of each.
CREATE TABLE IF NOT EXISTS alerts
(
    identity String COMMENT 'hash of rule, group and start: the dedup_key',
    state LowCardinality(String) COMMENT 'pending, firing, resolved',
    rule LowCardinality(String),
    group_items Array(Tuple(key String, value String)) EPHEMERAL,
    labels Map(LowCardinality(String), String) DEFAULT CAST(group_items, 'Map(LowCardinality(String), String)') COMMENT 'the group',
    severity LowCardinality(String),
    value Nullable(Float64),
    threshold Nullable(Float64),
    unit LowCardinality(String),
    window_start DateTime64(3, 'UTC'),
    window_end DateTime64(3, 'UTC'),
    since DateTime64(3, 'UTC') COMMENT 'when the condition became true',
    fired Nullable(DateTime64(3, 'UTC')),
    resolved Nullable(DateTime64(3, 'UTC')),
    at DateTime64(3, 'UTC') COMMENT 'log time of this verdict',
    partial Bool COMMENT 'a source partition had not passed the window''s end',
    trace_ids Array(String) COMMENT 'exemplars, worst first',
    summary String,
    description String,
    log_time DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(at)
PARTITION BY toYYYYMM(log_time)
ORDER BY (rule, identity, state)
TTL toDateTime(log_time) + toIntervalDay(400)
SETTINGS ttl_only_drop_parts = 1;
