"""Reads what Spanloom stored: traces, alerts and queries in the terminal, and the typed store behind them."""
