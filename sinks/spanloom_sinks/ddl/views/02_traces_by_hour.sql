-- What each trace adds to sums of traces: its one truth, as integers.
CREATE OR REPLACE VIEW trace_counts AS
SELECT
    t.trace_id AS trace_id, t.start AS start, t.environment AS environment, t.tenant AS tenant, t.service AS service, t.name AS name, t.user AS user,
    toInt64(1) AS traces, t.spans AS spans,
    toInt64(t.status = 'error') AS failed, toInt64(t.blocks > 0) AS blocked, toInt64(t.unpriced > 0) AS unpriced_traces,
    t.input_tokens AS input_tokens, t.cache_read_tokens AS cache_read_tokens, t.cache_write_tokens AS cache_write_tokens,
    t.output_tokens AS output_tokens, t.reasoning_tokens AS reasoning_tokens,
    ifNull(t.cost, 0) AS cost, t.unpriced AS unpriced, t.duration AS duration, t.stages AS stages
FROM traces AS t FINAL
WHERE NOT t.superseded;

-- Sums of traces by hour and who asked for what: hours that are summed up from `traces_1h`, all others from `traces`, a row a trace.
-- So it is never behind `traces`, but for the half minute in which an hour that changed late is summed up again.
CREATE OR REPLACE VIEW traces_by_hour AS
WITH (SELECT if(count() = 0, toDateTime(0, 'UTC'), max(start) + toIntervalHour(1)) FROM traces_1h_closed) AS closed
SELECT h.* EXCEPT version FROM traces_1h AS h FINAL WHERE h.traces > 0 AND h.start < closed
UNION ALL
SELECT c.* EXCEPT trace_id REPLACE (toStartOfHour(c.start) AS start) FROM trace_counts AS c WHERE c.start >= closed;
