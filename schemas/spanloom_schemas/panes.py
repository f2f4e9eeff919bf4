"""What a pane is: the facts that its readers and its writers must agree on."""

KEY = (
    *("environment", "service", "kind", "request", "model"),
    *("prompt_id", "prompt_version", "tenant", "experiment", "run_id"),
)
"""The columns of a pane's key, in the schema's order. All are texts but `request`."""

LATENCY_BOUNDS_S = (0.1, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Bucket bounds of llm_request_latency_seconds; a pane's `latency_le` has one count more, for +Inf."""

WORST_KEPT = 3
"""The worst spans of a pane that are kept, by reason."""
