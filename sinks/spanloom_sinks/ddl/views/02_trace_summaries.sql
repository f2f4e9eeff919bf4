-- One truth a trace: the amended row where a trace came in several segments.
CREATE OR REPLACE VIEW trace_summaries AS
SELECT *, knownDollars(cost, unpriced) AS dollars, duration / 1e6 AS duration_ms
FROM traces FINAL
WHERE NOT superseded;
