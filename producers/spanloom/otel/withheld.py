"""What people and models wrote, and who they are, stays here: only keyed hashes leave, and how much was held back."""

from collections.abc import Callable
from functools import lru_cache

from spanloom.otel.dialects import FIELDS
from spanloom.otel.received import Attributes
from spanloom.otel.values import plain

INPUTS = (
    *("gen_ai.input.messages", "input.value", "langfuse.observation.input", "ai.prompt.messages", "ai.prompt"),
    *("traceloop.entity.input", "gen_ai.prompt", "gen_ai.tool.call.arguments", "ai.toolCall.args", "tool.parameters"),
    *("gen_ai.retrieval.query.text", "ai.value", "ai.values", "reranker.query"),
    *("tool_arguments", "mlflow.spanInputs", "genkit:input", "lmnr.span.input"),
)
"""What went in: only a keyed hash of the first is kept."""
OUTPUTS = (
    *("gen_ai.output.messages", "output.value", "langfuse.observation.output", "ai.response.text"),
    *("ai.response.object", "ai.response.toolCalls", "traceloop.entity.output", "gen_ai.completion"),
    *("gen_ai.tool.call.result", "ai.toolCall.result"),
    *("final_result", "tool_response", "mlflow.spanOutputs", "genkit:output", "lmnr.span.output"),
)
"""What came out: only a keyed hash of the first is kept."""

CONTENT = frozenset(
    {
        *INPUTS,
        *OUTPUTS,
        *("gen_ai.system_instructions", "gen_ai.memory.records", "gen_ai.memory.query.text", "gen_ai.response"),
        *("gen_ai.evaluation.explanation", "evaluation.explanation", "annotation.explanation"),
        *("llm.prompt_template.template", "llm.prompt_template.variables", "llm.function_call", "ai.documents"),
        *("langfuse.observation.status_message", "langfuse.trace.input", "langfuse.trace.output"),
        *("traceloop.prompt.template", "traceloop.prompt.template_variables", "ai.response.reasoning"),
        *("ai.response.providerMetadata", "ai.response.files", "ai.embedding", "ai.embeddings", "ai.request.text"),
        *("exception.message", "exception.stacktrace", "gen_ai.headers", "llm.headers", "gen_ai.event.content"),
        *("user.email", "user.name", "user.full_name", "enduser.pseudo.id", "client.address", "http.client_ip"),
        *("content", "message", "body", "tool_calls", "arguments", "error.message", "error.stack"),
        *("gen_ai.guardrail.verdict.reason", "ai.result.text", "ai.result.object", "ai.result.toolCalls"),
        *("pydantic_ai.all_messages", "pydantic_ai.all_messages_events"),
        # Whole requests as JSON, with what instrumentors leave in them: user, metadata, system, prediction.
        *("llm.invocation_parameters", "embedding.invocation_parameters"),
    }
)
"""Attributes of spans and events that hold what people and models wrote, or who they are: they stay here, counted."""

CONTENT_PREFIXES = (
    *("llm.input_messages.", "llm.output_messages.", "llm.prompts.", "llm.choices.", "llm.tools."),
    *("gen_ai.prompt.", "gen_ai.completion.", "input.images.", "input.documents.", "output.images."),
    *("output.documents.", "embedding.embeddings.", "message.content"),
    *(
        "retrieval.documents.",
        "reranker.input_documents.",
        "reranker.output_documents.",
        "llm.prompt_template.variables.",
    ),
    *("langfuse.experiment.item.", "ai.prompt."),
    *("traceloop.prompt.template", "db.search.result.document", "db.query.result.document", "gen_ai.tool.definitions"),
    *("evaluations.", "annotations.", "trace.evaluations.", "process.command", "db.search.result.metadata"),
    *("db.query.result.metadata", "db.search.embeddings.", "db.query.embeddings.", "llm.request.functions."),
    *("input.audio.", "output.audio.", "gen_ai.security.content."),
    *("http.request.header.", "http.response.header.", "ai.request.headers.", "db.query.parameter."),
    *("traceloop.association.properties.email", "traceloop.association.properties.user_name"),
)
"""Beginnings of such names."""

STORES = ("db.chroma.", "db.marqo.", "db.milvus.", "db.weaviate.", "weaviate.", "pinecone.", "qdrant.", "lancedb.")
STORE_ENDINGS = frozenset(
    {
        *("query", "queries", "gql_query", "filter", "where", "where_document", "properties", "data_object"),
        *("vector", "references"),
    }
)
"""Beginnings and ends of names of what was asked of a vector store, or written to it."""

_WHOLE = frozenset((*INPUTS, *OUTPUTS))
_MAPPED = frozenset(name for names in FIELDS.values() for name in names)


@lru_cache(8192)
def is_content(name: str) -> bool:
    """Say whether an attribute of this name is held back."""
    if name in _MAPPED:
        return False
    of_store = name.startswith(STORES) and name.rpartition(".")[2] in STORE_ENDINGS
    return of_store or name in CONTENT or f"{name}.".startswith(CONTENT_PREFIXES)


def hashes(said: Attributes, pseudonym: Callable[[str], str]) -> dict[str, object]:
    """Return the keyed hashes of what went in and what came out."""
    found: dict[str, object] = {}
    if _WHOLE.isdisjoint(said):
        return found
    for field, names in (("input_hash", INPUTS), ("output_hash", OUTPUTS)):
        whole = next((value for name in names if (value := said.get(name))), None)
        if whole is not None:
            found[field] = pseudonym(str(plain(whole)))
    return found
