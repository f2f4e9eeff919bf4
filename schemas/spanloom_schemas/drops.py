"""Why a producer drops a span: the words of its header's `dropped`, fit for a metric's label."""

REASONS = (
    *("queue_full", "disabled", "shutdown"),  # it never got into the buffer
    *("encode", "too_large", "timeout", "unreachable", "rejected"),  # it was taken from there, and got no further
)
