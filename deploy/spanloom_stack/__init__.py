"""The embedded stack: a real Kafka and a real ClickHouse engine, without Docker."""
