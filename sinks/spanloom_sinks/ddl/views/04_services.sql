-- Windows of a service: latency, errors of its requests; blocks, cost, tokens, TTFT and TPOT of everything it did.
CREATE OR REPLACE VIEW services_{window} AS
SELECT
    {start} AS window,
    t.environment AS environment, t.service AS service,
    sumIf(t.spans, t.request) AS requests,
    sumIf(t.errors, t.request) AS errors,
    sum(t.blocks) AS blocks,
    requests / {seconds} AS requests_per_second,
    if(requests = 0, NULL, errors / requests) AS error_rate,
    if(requests = 0, NULL, blocks / requests) AS block_rate,
    knownDollars(sum(t.cost), sum(t.unpriced)) AS dollars,
    dollars * 60 / {seconds} AS dollars_per_minute,
    sum(t.unpriced) AS unpriced,
    sum(t.input_tokens + t.cache_read_tokens + t.cache_write_tokens + t.output_tokens + t.reasoning_tokens) AS tokens,
    sketchQuantile(0.5, sumMapIf(t.duration_sketch.index, t.duration_sketch.count, t.request)) / 1e6 AS p50_ms,
    sketchQuantile(0.95, sumMapIf(t.duration_sketch.index, t.duration_sketch.count, t.request)) / 1e6 AS p95_ms,
    sketchQuantile(0.99, sumMapIf(t.duration_sketch.index, t.duration_sketch.count, t.request)) / 1e6 AS p99_ms,
    sketchQuantile(0.5, sumMap(t.ttft_sketch.index, t.ttft_sketch.count)) / 1e6 AS ttft_p50_ms,
    sketchQuantile(0.95, sumMap(t.ttft_sketch.index, t.ttft_sketch.count)) / 1e6 AS ttft_p95_ms,
    sketchQuantile(0.99, sumMap(t.ttft_sketch.index, t.ttft_sketch.count)) / 1e6 AS ttft_p99_ms,
    sketchQuantile(0.5, sumMap(t.tpot_sketch.index, t.tpot_sketch.count)) / 1e6 AS tpot_p50_ms,
    sketchQuantile(0.95, sumMap(t.tpot_sketch.index, t.tpot_sketch.count)) / 1e6 AS tpot_p95_ms,
    sketchQuantile(0.99, sumMap(t.tpot_sketch.index, t.tpot_sketch.count)) / 1e6 AS tpot_p99_ms
FROM {panes} AS t FINAL
GROUP BY window, environment, service;
