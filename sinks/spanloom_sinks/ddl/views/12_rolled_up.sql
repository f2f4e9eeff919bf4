-- Roll-ups of a range of time by pane key, `width` seconds each: minutes up to two days, else hours, so that a month is read as fast
-- as an hour. Grafana's boards read it: rolled_up(since = $__fromTime, until = $__toTime). To merge keys, add sums and merge sketches.
CREATE OR REPLACE VIEW rolled_up AS
SELECT 60 AS width, *
FROM panes_1m FINAL
WHERE start >= {since:DateTime} AND start <= {until:DateTime}
  AND dateDiff('second', {since:DateTime}, {until:DateTime}) <= 172800
UNION ALL
SELECT 3600 AS width, *
FROM panes_1h FINAL
WHERE start >= {since:DateTime} AND start <= {until:DateTime}
  AND dateDiff('second', {since:DateTime}, {until:DateTime}) > 172800;
