"""Answers questions about Python's standard library from its documentation strings: a chat API and an agent."""
