-- Sums of traces of a range of time, as rolled_up has those of panes: a row a trace up to two days, else hours, without a trace_id.
CREATE OR REPLACE VIEW rolled_up_traces AS
SELECT c.*
FROM trace_counts AS c
WHERE c.start >= {since:DateTime} AND c.start <= {until:DateTime}
  AND dateDiff('second', {since:DateTime}, {until:DateTime}) <= 172800
UNION ALL
SELECT '' AS trace_id, h.*
FROM traces_by_hour AS h
WHERE h.start >= {since:DateTime} AND h.start <= {until:DateTime}
  AND dateDiff('second', {since:DateTime}, {until:DateTime}) > 172800;
