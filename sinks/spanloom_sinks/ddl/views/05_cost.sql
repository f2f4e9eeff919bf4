-- Cost in dollars. An unpriced span costs an unknown amount: their number stands beside every sum, which is then a lower bound,
-- or NULL where nothing is known. `unpriced_share`: of the requests, those with such a span.
CREATE OR REPLACE VIEW cost_per_minute AS
SELECT
    start AS minute, environment, service, tenant, model,
    knownDollars(sum(t.cost), sum(t.unpriced)) AS dollars, sum(t.unpriced) AS unpriced, sum(t.spans) AS spans
FROM panes_1m AS t FINAL
GROUP BY minute, environment, service, tenant, model;

CREATE OR REPLACE VIEW cost_per_1k_tokens AS
SELECT
    start AS minute, environment, service, model,
    knownDollars(sum(t.cost), sum(t.unpriced)) AS dollars,
    sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens + reasoning_tokens) AS tokens,
    if(tokens = 0, NULL, dollars * 1000 / tokens) AS dollars_per_1k_tokens,
    sum(t.unpriced) AS unpriced
FROM panes_1m AS t FINAL
GROUP BY minute, environment, service, model;

CREATE OR REPLACE VIEW cost_per_request AS
SELECT
    toStartOfMinute(start) AS minute, environment, service,
    count() AS requests, knownDollars(sum(t.cost), sum(t.unpriced)) AS dollars, dollars / requests AS dollars_per_request,
    max(knownDollars(t.cost, t.unpriced)) AS dearest, sum(t.unpriced) AS unpriced, countIf(t.unpriced > 0) / requests AS unpriced_share
FROM traces AS t FINAL
WHERE NOT superseded
GROUP BY minute, environment, service;

CREATE OR REPLACE VIEW cost_per_user AS
SELECT
    start AS hour, environment, tenant, user,
    sum(t.traces) AS requests, knownDollars(sum(t.cost), sum(t.unpriced)) AS dollars, dollars / requests AS dollars_per_request,
    sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens + reasoning_tokens) AS tokens,
    sum(t.unpriced) AS unpriced, sum(t.unpriced_traces) / requests AS unpriced_share
FROM traces_by_hour AS t
WHERE user != ''
GROUP BY hour, environment, tenant, user;

-- A pipeline is a service and the name of its root span.
CREATE OR REPLACE VIEW cost_per_pipeline AS
SELECT
    start AS hour, environment, service, name AS pipeline,
    sum(t.traces) AS requests, knownDollars(sum(t.cost), sum(t.unpriced)) AS dollars, dollars / requests AS dollars_per_request,
    sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens + reasoning_tokens) AS tokens,
    sum(t.unpriced) AS unpriced, sum(t.unpriced_traces) / requests AS unpriced_share, sum(t.failed) AS failed, sum(t.blocked) AS blocked
FROM traces_by_hour AS t
GROUP BY hour, environment, service, pipeline;
