"""What spans of other instrumentations call the things that ours call by one name: data only; `mapping` reads it.

Dialects: OpenTelemetry's GenAI conventions (semconv up to 1.36, 1.37 to 1.41, genai 0.1: `gen_ai.…`), OpenInference
(`llm.…`, `openinference.…`), OpenLLMetry/Traceloop (`gen_ai.…`, `llm.…`, `traceloop.…`), Langfuse (`langfuse.…`),
Vercel's AI SDK (`ai.…`), and what we export ourselves (`spanloom.…`). Of several names of one thing the first that says
something wins. A name below one of `UNFOLD` is a key of that attribute's JSON. What is held back is in `withheld`.
"""

from typing import NamedTuple

from spanloom.fields import KINDS as OUR_KINDS
from spanloom.fields import SEGMENTS

KINDS: tuple[tuple[str, dict[str, tuple[str, ...]]], ...] = (
    ("spanloom.kind", {kind: (kind,) for kind in OUR_KINDS}),
    (
        "langfuse.observation.type",
        {
            "llm": ("generation",),
            "embedding": ("embedding",),
            "tool": ("tool",),
            "retrieval": ("retriever",),
            "safety": ("guardrail",),
            "other": ("agent", "chain", "evaluator"),
        },
    ),
    (
        "openinference.span.kind",
        {
            "llm": ("LLM",),
            "embedding": ("EMBEDDING",),
            "retrieval": ("RETRIEVER",),
            "rerank": ("RERANKER",),
            "tool": ("TOOL",),
            "safety": ("GUARDRAIL",),
            "prompt": ("PROMPT",),
            "other": ("AGENT", "CHAIN", "DECISION", "EVALUATOR"),
        },
    ),
    (
        "gen_ai.operation.name",
        {
            "llm": ("chat", "text_completion", "generate_content", "completion"),
            "embedding": ("embeddings", "embedding"),
            "rerank": ("rerank",),
            "retrieval": ("retrieval", "search_memory"),
            "tool": ("execute_tool",),
            "safety": ("run_guardrail",),
            "other": ("invoke_agent", "create_agent", "invoke_workflow", "plan", "fetch_response"),
        },
    ),
    (
        "ai.operationId",
        {
            "llm": (
                *("ai.generateText.doGenerate", "ai.generateObject.doGenerate"),
                *("ai.streamText.doStream", "ai.streamObject.doStream"),
            ),
            "embedding": ("ai.embed.doEmbed", "ai.embedMany.doEmbed"),
            "rerank": ("ai.rerank.doRerank",),
            "tool": ("ai.toolCall",),
            "other": (
                *("ai.generateText", "ai.generateObject", "ai.streamText", "ai.streamObject"),
                *("ai.embed", "ai.embedMany", "ai.rerank"),
            ),
        },
    ),
    ("llm.request.type", {"llm": ("chat", "completion"), "embedding": ("embedding",), "rerank": ("rerank",)}),
    ("traceloop.span.kind", {"tool": ("tool",), "other": ("workflow", "task", "agent")}),
    ("span.type", {"llm": ("llm_request",), "tool": ("tool",)}),
    ("mcp.method.name", {"tool": ("tools/call",)}),
)
"""Attribute, and which of its values mean which stage; a value that is not named here says nothing.

A wrapper (an agent, a chain, Vercel's outer span) is `other`: what it reports its calls have reported.
"""

EVIDENCE: tuple[tuple[str, str], ...] = (
    ("gen_ai.tool.call.id", "tool"),
    ("gen_ai.guardrail.component.name", "safety"),
    ("gen_ai.response.model", "llm"),
    ("gen_ai.request.model", "llm"),
    ("gen_ai.tool.name", "tool"),
)
"""Attribute whose presence tells the stage, where no value of KINDS does and no operation is named."""

OPERATIONS = frozenset({"gen_ai.operation.name", "ai.operationId", "traceloop.span.kind", "openinference.span.kind"})
"""With one of these, even with a value unknown here, EVIDENCE is not asked: it may be a wrapper."""

STORES: dict[str, frozenset[str]] = {
    "chroma": frozenset({"query", "get"}),
    "lancedb": frozenset({"search"}),
    "marqo": frozenset({"search"}),
    "milvus": frozenset({"search", "hybrid_search", "query", "get"}),
    "pinecone": frozenset({"query"}),
    "qdrant": frozenset(
        {
            *("search", "search_batch", "search_groups", "query", "query_batch", "query_points", "query_batch_points"),
            *("recommend", "recommend_batch", "recommend_groups", "discover", "discover_batch", "scroll"),
        }
    ),
    "weaviate": frozenset({"do", "raw", "graphql_raw_query", "fetch_object_by_id", "fetch_objects"}),
}
"""Vector stores, in lower case, and their operations that retrieve; all others write, or look after the store."""
STORE_SYSTEMS = ("db.system", "db.system.name")
STORE_OPERATIONS = ("db.operation", "db.operation.name")
"""Where store and operation are named; an operation that is not, by the end of the span's name (pinecone.query)."""

INFERENCE = frozenset({"llm", "embedding", "rerank"})
"""Stages on which usage and time to first token count; elsewhere they stay attributes."""

FIELDS: dict[str, tuple[str, ...]] = {
    "provider": (
        *("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "ai.model.provider"),
        "embedding.provider",
    ),
    "request_model": (
        *("gen_ai.request.model", "llm.request.model_name", "llm.invocation_parameters.model"),
        *("embedding.invocation_parameters.model", "ai.model.id", "langfuse.observation.model.name"),
        *("reranker.model_name", "model"),
    ),
    "response_model": (
        *("gen_ai.response.model", "llm.response.model_name", "llm.model_name", "embedding.model_name"),
        "ai.response.model",
    ),
    "service_tier": (
        *("openai.response.service_tier", "gen_ai.openai.response.service_tier"),
        *("openai.request.service_tier", "gen_ai.openai.request.service_tier"),
    ),
    "temperature": (
        *("gen_ai.request.temperature", "llm.invocation_parameters.temperature", "llm.temperature"),
        *("langfuse.observation.model.parameters.temperature", "ai.settings.temperature"),
    ),
    "top_p": (
        *("gen_ai.request.top_p", "llm.invocation_parameters.top_p", "llm.top_p"),
        *("langfuse.observation.model.parameters.top_p", "ai.settings.topP"),
    ),
    "max_tokens": (
        *("gen_ai.request.max_tokens", "gen_ai.request.max_completion_tokens"),
        *(f"llm.invocation_parameters.{name}" for name in ("max_tokens", "max_completion_tokens", "max_output_tokens")),
        *(f"langfuse.observation.model.parameters.{name}" for name in ("max_tokens", "max_completion_tokens")),
        *("ai.settings.maxOutputTokens", "ai.settings.maxTokens"),
    ),
    "finish_reasons": (
        *("gen_ai.response.finish_reasons", "gen_ai.response.finish_reason", "gen_ai.response.stop_reason"),
        *("llm.finish_reason", "llm.response.finish_reason", "llm.response.stop_reason"),
        *("ai.response.finishReason", "anthropic.message.stop_reason", "gen_ai.completion.0.finish_reason"),
        "langfuse.observation.metadata.finish_reason",
    ),
    "tool_name": ("gen_ai.tool.name", "tool.name", "ai.toolCall.name", "traceloop.entity.name"),
    "retriever_k": (
        *("gen_ai.retrieval.top_k", "db.vector.query.top_k", "pinecone.query.top_k", "reranker.top_k"),
        *("db.chroma.query.n_results", "db.milvus.search.limit"),
        "gen_ai.request.top_k",
    ),
    "error_type": ("error.type", "exception.type"),
    "session_id": (
        *("session.id", "gen_ai.conversation.id", "langfuse.session.id", "ai.telemetry.metadata.sessionId"),
        *(f"traceloop.association.properties.{name}" for name in ("session_id", "chat_id", "thread_id")),
    ),
    "user": (
        *("user.id", "enduser.id", "langfuse.user.id", "gen_ai.user", "llm.user", "ai.telemetry.metadata.userId"),
        "traceloop.association.properties.user_id",
    ),
    "tenant": ("tenant.id", "tenant", "traceloop.association.properties.tenant_id"),
    "run_id": ("spanloom.run_id",),
    "request_id": ("http.request.header.x-request-id", "request_id"),
    "experiment": ("spanloom.experiment", "langfuse.experiment.name", "langfuse.experiment.id"),
    "dataset_id": (
        "spanloom.dataset_id",
        "langfuse.experiment.dataset.id",
    ),
    "prompt_id": ("gen_ai.prompt.name", "langfuse.observation.prompt.name", "prompt.id", "traceloop.prompt.key"),
    "prompt_version": (
        *("gen_ai.prompt.version", "langfuse.observation.prompt.version", "llm.prompt_template.version"),
        "traceloop.prompt.version",
    ),
    **{
        name: (f"spanloom.{name}",)
        for name in (
            *("model_version", "usage", "cached", "batch_size", "context_truncated", "block_reason"),
            *("input_hash", "output_hash", *(f"{segment}_tokens" for segment in SEGMENTS)),
        )
    },
}
"""Our field → its names. FACTS of `spanloom.fields` go to the span's context, all others to its detail."""

ONLY = {"traceloop.entity.name": "tool", "gen_ai.request.top_k": "retrieval"}
"""Names that mean the field on spans of one stage alone."""

WHOLE, REST = True, False
"""Whether a count of input contains what was read from and written to a cache, one of output the reasoning."""

_LANGFUSE = "langfuse.observation.usage_details"
_VERCEL = "ai.response.providerMetadata"

USAGE: dict[str, dict[str, bool | None]] = {
    "input": {
        "ai.usage.inputTokenDetails.noCacheTokens": REST,
        "ai.usage.inputTokens": None,  # of version 5 as the provider counts it, and so is gen_ai.usage.… beside it
        "ai.usage.promptTokens": None,
        "ai.usage.tokens": WHOLE,
        "gen_ai.usage.input_tokens": WHOLE,
        "gen_ai.usage.prompt_tokens": WHOLE,
        "llm.token_count.prompt": WHOLE,
        "llm.usage.prompt_tokens": WHOLE,
        f"{_LANGFUSE}.prompt_tokens": WHOLE,
        f"{_LANGFUSE}.input": REST,
        f"{_LANGFUSE}.input_tokens": None,
        "input_tokens": REST,
    },
    "output": {
        "ai.usage.outputTokenDetails.textTokens": REST,
        "gen_ai.usage.output_tokens": WHOLE,
        "gen_ai.usage.completion_tokens": WHOLE,
        "llm.token_count.completion": WHOLE,
        "llm.usage.completion_tokens": WHOLE,
        "ai.usage.outputTokens": None,
        "ai.usage.completionTokens": None,
        f"{_LANGFUSE}.completion_tokens": WHOLE,
        f"{_LANGFUSE}.output": REST,
        f"{_LANGFUSE}.output_tokens": None,
        "output_tokens": WHOLE,
    },
    "cache_read": {
        "gen_ai.usage.cache_read.input_tokens": None,
        "gen_ai.usage.cache_read_input_tokens": None,
        "gen_ai.usage.details.cache_read_tokens": None,
        "gen_ai.usage.input_tokens.cached": None,
        "llm.token_count.prompt_details.cache_read": None,
        "llm.token_count.prompt_details.cache_input": None,
        "ai.usage.inputTokenDetails.cacheReadTokens": None,
        "ai.usage.cachedInputTokens": None,
        f"{_VERCEL}.openai.cachedPromptTokens": None,
        f"{_VERCEL}.anthropic.cacheReadInputTokens": None,
        f"{_VERCEL}.anthropic.usage.cache_read_input_tokens": None,
        f"{_LANGFUSE}.prompt_tokens_details.cached_tokens": None,
        f"{_LANGFUSE}.input_tokens_details.cached_tokens": WHOLE,
        f"{_LANGFUSE}.input_cached_tokens": None,
        f"{_LANGFUSE}.input_cache_read": None,
        f"{_LANGFUSE}.cache_read_input_tokens": REST,
        "cache_read_tokens": None,
    },
    "cache_write": {
        "gen_ai.usage.cache_write.input_tokens": None,
        "gen_ai.usage.cache_creation.input_tokens": None,
        "gen_ai.usage.cache_creation_input_tokens": None,
        "gen_ai.usage.details.cache_write_tokens": None,
        "gen_ai.usage.input_tokens.cache_write": None,
        "llm.token_count.prompt_details.cache_write": None,
        "ai.usage.inputTokenDetails.cacheWriteTokens": None,
        f"{_VERCEL}.anthropic.cacheCreationInputTokens": None,
        f"{_VERCEL}.anthropic.usage.cache_creation_input_tokens": None,
        f"{_LANGFUSE}.input_cache_creation": None,
        f"{_LANGFUSE}.cache_creation_input_tokens": REST,
        "cache_creation_tokens": None,
    },
    "reasoning": {
        "gen_ai.usage.reasoning.output_tokens": None,
        "gen_ai.usage.reasoning_tokens": None,
        "gen_ai.usage.details.reasoning_tokens": None,
        "llm.token_count.completion_details.reasoning": None,
        "llm.usage.reasoning_tokens": None,
        "ai.usage.outputTokenDetails.reasoningTokens": None,
        "ai.usage.reasoningTokens": None,
        f"{_VERCEL}.openai.reasoningTokens": None,
        f"{_LANGFUSE}.completion_tokens_details.reasoning_tokens": None,
        f"{_LANGFUSE}.output_tokens_details.reasoning_tokens": WHOLE,
        f"{_LANGFUSE}.output_reasoning_tokens": None,
    },
    "total": {
        "gen_ai.usage.total_tokens": None,
        "llm.token_count.total": None,
        "llm.usage.total_tokens": None,
        f"{_LANGFUSE}.total_tokens": None,
        f"{_LANGFUSE}.total": None,
    },
}
"""Count → its names, each with what it says about the basis of the count it is part of; None: the provider tells.

Vercel's total is not among them: it leaves out what the provider's counts leave out.
"""

SUMS = {
    f"{_LANGFUSE}.input_cache_creation": (
        f"{_LANGFUSE}.input_cache_creation_5m",
        f"{_LANGFUSE}.input_cache_creation_1h",
    )
}
"""Name of a count → names of what is counted beside it, and belongs to the same bucket."""

FIRST_TOKEN: dict[str, int] = {
    "gen_ai.response.time_to_first_chunk": 10**9,
    "gen_ai.latency.time_to_first_token": 10**9,
    "gen_ai.server.time_to_first_token": 10**9,
    "ai.response.msToFirstChunk": 10**6,
    "ai.stream.msToFirstChunk": 10**6,
    "ttft_ms": 10**6,
}
"""Time to first token → nanoseconds in its unit."""

FIRST_TOKEN_AT = ("langfuse.observation.completion_start_time",)
"""Moments (ISO 8601, perhaps in quotes) at which the first token came."""

FIRST_TOKEN_EVENTS = frozenset(
    {
        *("First Token Stream Event", "ai.stream.firstChunk"),
        *("gen_ai.content.completion.chunk", "llm.content.completion.chunk"),
    }
)
"""Events of which the first marks the first token."""

CHUNK_EVENTS = frozenset({"gen_ai.content.completion.chunk", "llm.content.completion.chunk"})
"""Events that come with every chunk and say nothing more: their number is kept."""

RESPONSE_IDS = ("gen_ai.response.id", "ai.response.id")
"""The provider's id of an answer."""
ANSWERS = ("output.value", "gen_ai.response", "langfuse.observation.output")
"""Attributes that may hold the provider's answer as JSON, with its id."""

PROVIDERS = {
    "azure.ai.openai": ("az.ai.openai", "azure", "azure-openai"),
    "azure.ai.inference": ("az.ai.inference",),
    "aws.bedrock": ("aws", "bedrock", "amazon-bedrock"),
    "gcp.gen_ai": ("google",),
    "gcp.gemini": ("gemini",),
    "gcp.vertex_ai": ("vertex_ai", "vertexai", "google-vertex", "google.vertex.chat"),
    "mistral_ai": ("mistral", "mistralai"),
    "moonshot_ai": ("moonshot", "moonshotai"),
    "x_ai": ("xai",),
}
"""OpenTelemetry's names of providers, and other names of them, in lower case."""
APIS = frozenset({"chat", "responses", "completion", "messages", "embedding", "generative-ai", "image", "speech"})
"""What Vercel puts behind a provider's name: openai.chat."""

USUAL_TIERS = frozenset({"default", "auto", "standard", "on_demand"})
"""Service tiers, in lower case, of which there is nothing to say."""

FINISH_MESSAGES = ("gen_ai.output.messages",)
"""Attributes whose JSON is a list of messages, each perhaps with a finish_reason: where no attribute says why."""
FINISH_EVENTS = frozenset({"gen_ai.choice"})
"""Events that may have a finish_reason, likewise."""

REASONS = {
    "stop": ("end_turn", "stop_sequence", "eos", "complete", "completed"),
    "length": ("max_tokens", "max_output_tokens"),
    "tool_call": ("tool_use", "tool_calls", "tool-calls", "function_call"),
    "content_filter": (
        *("content-filter", "content_filtered", "refusal", "safety", "recitation", "blocklist", "image_safety"),
        *("prohibited_content", "spii", "guardrail_intervened"),
    ),
}
"""OpenTelemetry's words for why a model stopped, and providers' words for them, in lower case."""

BLOCKING_ERRORS = frozenset({"content_filter", "content_policy_violation", "responsibleaipolicyviolation"})
"""Types and codes of errors, in lower case, that say that a safety check refused."""
ERROR_CODES = ("error.code",)


class Block(NamedTuple):
    """A guardrail's own word: an attribute whose value, in lower case, is one of `values`; and on which stage."""

    attribute: str
    values: frozenset[str]
    kind: str | None = None


BLOCKS = (
    Block("gen_ai.guardrail.verdict.type", frozenset({"deny"})),
    Block("gen_ai.guardrail.action.type", frozenset({"block"})),
    Block("gen_ai.guardrail.tripwire_triggered", frozenset({"true"})),
    Block("langfuse.observation.level", frozenset({"error", "warning"}), "safety"),
    Block("metadata.action", frozenset({"block", "blocked", "deny", "intervened"}), "safety"),
    Block("output.value", frozenset({"block", "blocked", "deny", "denied", "fail", "failed", "unsafe"}), "safety"),
)
BLOCK_REASONS = (
    *("gen_ai.security.risk.category", "gen_ai.guardrail.verdict.code", "gen_ai.guardrail.component.name"),
    *("guardrail.name",),
)
"""Where a guardrail's low-cardinality reason is; without one it is `guardrail`."""

LEVELS = frozenset({"langfuse.observation.level"})
"""Attributes that may say ERROR where the span's status does not."""

UNFOLD = frozenset(
    {
        *(_LANGFUSE, "langfuse.observation.model.parameters", "llm.invocation_parameters", "metadata"),
        *("embedding.invocation_parameters", _VERCEL),
    }
)
"""Attributes whose JSON holds things of which we know some."""

DOCUMENTS = ("retrieval.documents.", "reranker.output_documents.")
"""Prefixes of `N.document.{id, score, content, …}`."""
DOCUMENT_LISTS = ("gen_ai.retrieval.documents",)
"""Attributes that hold a JSON list of {id, score}."""
DOCUMENT_EVENTS = {
    "db.search.result": (("db.search.result.id",), ("db.search.result.score", "db.search.result.distance")),
    "db.query.result": (("db.query.result.id", "_id"), ("db.query.result.score", "_score", "db.query.result.distance")),
}
"""Event of one found document → the names of its id, and of its score or distance. Anything else on it may be text."""

EVALUATIONS = {
    "evaluations.": ("evaluation.name", "evaluation.score"),
    "trace.evaluations.": ("evaluation.name", "evaluation.score"),
    "annotations.": ("annotation.name", "annotation.score"),
}
"""Prefix of `N.…` → name and score of a verdict."""
SCORES = (("gen_ai.evaluation.name", "gen_ai.evaluation.score.value"), ("evaluation.name", "evaluation.score"))
"""Name and score of one verdict, on a span or on an event."""
