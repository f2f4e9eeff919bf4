"""Weaves spans into traces, folds them into panes, raises alerts: Faust agents around a pure core."""
