-- Of all requests of a minute, how many were blocked (a trace with a block) and by what.
CREATE OR REPLACE VIEW block_rate AS
SELECT
    toStartOfMinute(start) AS minute, environment, service,
    count() AS requests, countIf(blocks > 0) AS blocked, blocked / requests AS rate,
    sumMapIf([t.block_reason], [1::UInt64], t.blocks > 0) AS reasons
FROM traces AS t FINAL
WHERE NOT superseded
GROUP BY minute, environment, service;

CREATE OR REPLACE VIEW error_rate AS
SELECT start AS minute, environment, service, sum(t.spans) AS requests, sum(t.errors) AS failed, failed / requests AS rate
FROM panes_1m AS t FINAL
WHERE request
GROUP BY minute, environment, service;
