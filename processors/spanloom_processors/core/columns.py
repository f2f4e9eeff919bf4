"""The columns of derived spans that the core reads: what a worker keeps of a decoded batch (`derive`'s `project`)."""

COLUMNS = (
    *("offset", "log_time", "position", "trace_id", "span_id", "parent_id", "name", "kind", "start", "end", "status"),
    *("environment", "service", "model", "tenant", "experiment", "run_id", "prompt_id", "prompt_version"),
    *("request_id", "session_id", "user", "request", "error", "blocked", "block_reason", "duration", "ttft", "tpot"),
    *("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"),
    *("system_tokens", "instructions_tokens", "few_shot_tokens", "context_tokens", "user_tokens"),
    *("usage", "cached", "cost", "cost_status", "documents", "scores"),
)
