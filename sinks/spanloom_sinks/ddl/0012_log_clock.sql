-- Other segments of a trace are looked for by the log clock of their source, and not by when they were told (docs/adr/0073).
ALTER TABLE traces ADD INDEX IF NOT EXISTS by_log_clock log_clock TYPE minmax GRANULARITY 1;

ALTER TABLE traces MATERIALIZE INDEX IF EXISTS by_log_clock;
