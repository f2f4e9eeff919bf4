"""Decoded messages to rows of tables: pure functions, a module a table."""
