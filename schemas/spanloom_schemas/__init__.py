"""Spanloom's language: Avro schemas, topics, codec, price book, and columns derived from one span."""
