-- The heaviest prompts, by the tokens they send.
CREATE OR REPLACE VIEW heaviest_prompts AS
SELECT
    toStartOfHour(start) AS hour, environment, service, prompt_id, prompt_version,
    sum(t.spans) AS spans,
    sum(input_tokens + cache_read_tokens + cache_write_tokens) AS tokens_in, tokens_in / spans AS tokens_in_per_span,
    sum(output_tokens + reasoning_tokens) AS tokens_out,
    knownDollars(sum(t.cost), sum(t.unpriced)) AS dollars, sum(t.unpriced) AS unpriced,
    sketchQuantile(0.95, sumMap(t.duration_sketch.index, t.duration_sketch.count)) / 1e6 AS p95_ms
FROM panes_1m AS t FINAL
WHERE prompt_id != '' AND kind = 'llm'
GROUP BY hour, environment, service, prompt_id, prompt_version;

-- Documents by the mean duration of the retrievals that returned them.
CREATE OR REPLACE VIEW slowest_documents AS
SELECT
    toStartOfHour(end) AS hour, environment, service, document.id AS document,
    countIf(kind = 'retrieval') AS retrievals, countIf(document.cited) AS cited,
    avgIf(duration, kind = 'retrieval') / 1e6 AS mean_ms, maxIf(duration, kind = 'retrieval') / 1e6 AS max_ms,
    argMaxIf(trace_id, duration, kind = 'retrieval') AS slowest_trace
FROM spans FINAL ARRAY JOIN documents AS document
GROUP BY hour, environment, service, document
HAVING retrievals > 0;

CREATE OR REPLACE VIEW costliest_traces AS
SELECT start, trace_id, environment, service, name, user, tenant, models, spans, dollars, unpriced, duration_ms, state
FROM trace_summaries
WHERE cost > 0;

CREATE OR REPLACE VIEW slowest_traces AS
SELECT start, trace_id, environment, service, name, user, tenant, models, spans, duration_ms, stages, critical_path, state
FROM trace_summaries;
