"""Stored spans on their way to other programs: files of JSON lines, and backends that take OTLP."""
