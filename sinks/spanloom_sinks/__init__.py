"""Kafka topics to ClickHouse tables, exactly once."""
