"""What Spanloom stored, in the terminal: traces, alerts, runs and queries. What is read is `spanloom_traces`'."""
