import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spanloom import fields, wire
from spanloom.otel import dialects, withheld
from spanloom.otel.calls import Calls
from spanloom.otel.mapping import About, translate
from spanloom.otel.received import Received
from spanloom.otel.resource import resource
from spanloom.testing import decoded
from spanloom.trace import Resource

START, SECOND = 1_790_000_000_000_000_000, 10**9
HERE = About(None, {}, {})


def received(attributes: dict[str, Any], **more: Any) -> Received:
    whole = {
        "trace_id": "ab" * 16,
        "span_id": 7,
        "parent": 5,
        "remote": False,
        "name": "x",
        "kind": "internal",
        "start": START,
        "end": START + 2 * SECOND,
        "status": "unset",
        "scope": "s",
        **more,
    }
    return Received(attributes=attributes, **whole)


def ours(attributes: dict[str, Any], about: About = HERE, calls: Calls | None = None, **more: Any) -> dict[str, Any]:
    ended = translate(received(attributes, **more), about, calls or Calls(), lambda said: f"#{len(said)}")
    return decoded(wire.span(ended))


def kept(span: dict[str, Any]) -> dict[str, str]:
    return {said["key"]: said["value"] for said in span["attributes"]}


def tokens(span: dict[str, Any]) -> tuple[int | None, ...]:
    return tuple(
        span["llm"][f"{name}_tokens"] for name in ("input", "cache_read", "cache_write", "output", "reasoning")
    )


GENERATIONS: dict[str, dict[str, Any]] = {
    "semconv 1.36": {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "az.ai.openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.prompt_tokens": 100,
        "gen_ai.usage.completion_tokens": 50,
        "gen_ai.openai.request.service_tier": "flex",
        "gen_ai.response.finish_reasons": ["length"],
    },
    "semconv 1.41": {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "azure.ai.openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 50,
        "openai.response.service_tier": "flex",
        "gen_ai.response.finish_reasons": ["length"],
    },
    "genai 0.1": {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "azure.ai.openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 50,
        "openai.response.service_tier": "flex",
        "gen_ai.response.finish_reasons": ["length"],
    },
    "OpenInference": {
        "openinference.span.kind": "LLM",
        "llm.provider": "azure",
        "llm.request.model_name": "gpt-4o",
        "llm.token_count.prompt": 100,
        "llm.token_count.completion": 50,
        "llm.finish_reason": "max_tokens",
        "openai.response.service_tier": "flex",
    },
    "OpenLLMetry": {
        "llm.request.type": "chat",
        "gen_ai.system": "Azure",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.prompt_tokens": 100,
        "gen_ai.usage.completion_tokens": 50,
        "llm.usage.total_tokens": 150,
        "gen_ai.response.finish_reason": "length",
        "openai.response.service_tier": "flex",
    },
    "Langfuse": {
        "langfuse.observation.type": "generation",
        "gen_ai.system": "azure",
        "langfuse.observation.model.name": "gpt-4o",
        "langfuse.observation.usage_details": json.dumps({"input": 100, "output": 50, "total": 150}),
        "langfuse.observation.metadata.finish_reason": '"length"',
        "openai.response.service_tier": "flex",
    },
    "Vercel": {
        "ai.operationId": "ai.generateText.doGenerate",
        "ai.model.provider": "azure-openai.chat",
        "ai.model.id": "gpt-4o",
        "ai.usage.promptTokens": 100,
        "ai.usage.completionTokens": 50,
        "ai.response.finishReason": "length",
        "openai.response.service_tier": "flex",
    },
}


@pytest.mark.parametrize("dialect", GENERATIONS)
def test_every_dialect_says_the_same_call(dialect: str) -> None:
    span = ours(GENERATIONS[dialect])
    said = span["llm"]
    assert (span["kind"], said["provider"], said["request_model"]) == ("llm", "azure.ai.openai", "gpt-4o")
    assert (tokens(span), said["usage"]) == ((100, None, None, 50, None), "measured")
    assert (said["finish_reasons"], said["service_tier"]) == (["length"], "flex")


@pytest.mark.parametrize(
    ("attributes", "buckets"),
    [
        # genai 0.1: input contains the cache, output the reasoning
        (
            {
                "gen_ai.usage.input_tokens": 150,
                "gen_ai.usage.output_tokens": 50,
                "gen_ai.usage.cache_read.input_tokens": 40,
                "gen_ai.usage.cache_write.input_tokens": 10,
                "gen_ai.usage.reasoning.output_tokens": 20,
            },
            (100, 40, 10, 30, 20),
        ),
        # older names of the cache
        (
            {"gen_ai.usage.prompt_tokens": 150, "gen_ai.usage.cache_creation_input_tokens": 50},
            (100, None, 50, None, None),
        ),
        # more cache than input: the input cannot contain it
        ({"gen_ai.usage.input_tokens": 10, "gen_ai.usage.cache_read.input_tokens": 40}, (10, 40, None, None, None)),
        # a total that only the other reading adds up to
        (
            {
                "gen_ai.usage.input_tokens": 100,
                "gen_ai.usage.cache_read_input_tokens": 40,
                "gen_ai.usage.output_tokens": 50,
                "gen_ai.usage.total_tokens": 190,
            },
            (100, 40, None, 50, None),
        ),
        # Gemini's thoughts beside the output
        (
            {
                "gen_ai.usage.input_tokens": 100,
                "gen_ai.usage.output_tokens": 50,
                "gen_ai.usage.reasoning_tokens": 20,
                "gen_ai.usage.total_tokens": 170,
            },
            (100, None, None, 50, 20),
        ),
        # Claude Code
        (
            {"input_tokens": 100, "cache_read_tokens": 40, "cache_creation_tokens": 10, "output_tokens": 50},
            (100, 40, 10, 50, None),
        ),
        # Vercel, version 5: as the provider counts it; version 6: told apart
        (
            {
                "ai.model.provider": "anthropic.messages",
                "ai.usage.inputTokens": 100,
                "ai.usage.cachedInputTokens": 40,
                "gen_ai.usage.input_tokens": 100,
                "ai.usage.outputTokens": 50,
                "ai.usage.totalTokens": 150,
                "ai.response.providerMetadata": '{"anthropic": {"cacheCreationInputTokens": 10}}',
            },
            (100, 40, 10, 50, None),
        ),
        (
            {"ai.model.provider": "openai.chat", "ai.usage.inputTokens": 100, "ai.usage.cachedInputTokens": 40},
            (60, 40, None, None, None),
        ),
        (
            {
                "ai.model.provider": "anthropic.messages",
                "ai.usage.inputTokens": 150,
                "ai.usage.inputTokenDetails.noCacheTokens": 100,
                "ai.usage.cachedInputTokens": 40,
                "ai.usage.inputTokenDetails.cacheWriteTokens": 10,
            },
            (100, 40, 10, None, None),
        ),
        # Langfuse: OpenAI's, Anthropic's and its own words
        (
            {
                "langfuse.observation.usage_details": json.dumps(
                    {
                        "prompt_tokens": 100,
                        "completion_tokens": 50,
                        "total_tokens": 150,
                        "prompt_tokens_details": {"cached_tokens": 40},
                        "completion_tokens_details": {"reasoning_tokens": 20},
                    }
                )
            },
            (60, 40, None, 30, 20),
        ),
        (
            {
                "langfuse.observation.usage_details": json.dumps(
                    {"input_tokens": 100, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 10}
                )
            },
            (100, 40, 10, None, None),
        ),
        (
            {
                "langfuse.observation.usage_details": json.dumps(
                    {"input": 100, "output": 30, "input_cached_tokens": 40, "output_reasoning_tokens": 20}
                )
            },
            (100, 40, None, 30, 20),
        ),
    ],
)
def test_buckets_are_told_apart(attributes: dict[str, Any], buckets: tuple[int | None, ...]) -> None:
    assert tokens(ours({"gen_ai.operation.name": "chat", **attributes})) == buckets


COUNT = st.integers(0, 10**6)


@given(COUNT, COUNT, COUNT, COUNT, COUNT, st.booleans(), st.booleans())
def test_a_total_tells_the_reading_whenever_only_one_adds_up(
    rest: int, read: int, write: int, output: int, reasoning: int, whole_input: bool, whole_output: bool
) -> None:
    cache = read + write
    span = ours(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.usage.input_tokens": rest + whole_input * cache,
            "gen_ai.usage.cache_read.input_tokens": read,
            "gen_ai.usage.cache_write.input_tokens": write,
            "gen_ai.usage.output_tokens": output + whole_output * reasoning,
            "gen_ai.usage.reasoning.output_tokens": reasoning,
            "gen_ai.usage.total_tokens": rest + cache + output + reasoning,
        }
    )
    found = tokens(span)
    assert all(count is not None and count >= 0 for count in found)
    if cache != reasoning:  # else two readings add up to the same total
        assert found == (rest, read, write, output, reasoning)


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"gen_ai.operation.name": "embeddings"}, "embedding"),
        ({"gen_ai.operation.name": "retrieval"}, "retrieval"),
        ({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "clock"}, "tool"),
        ({"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "gpt-4o"}, "other"),
        ({"gen_ai.operation.name": "something_new", "gen_ai.request.model": "gpt-4o"}, "other"),
        ({"gen_ai.request.model": "gpt-4o"}, "llm"),
        ({"openinference.span.kind": "RERANKER", "gen_ai.operation.name": "chat"}, "rerank"),
        ({"openinference.span.kind": "CHAIN"}, "other"),
        ({"openinference.span.kind": "GUARDRAIL"}, "safety"),
        ({"langfuse.observation.type": "retriever"}, "retrieval"),
        ({"langfuse.observation.type": "span", "gen_ai.operation.name": "chat"}, "llm"),
        ({"traceloop.span.kind": "tool", "traceloop.entity.name": "clock"}, "tool"),
        ({"traceloop.span.kind": "workflow"}, "other"),
        ({"ai.operationId": "ai.streamText", "ai.model.id": "gpt-4o"}, "other"),
        ({"ai.operationId": "ai.embed.doEmbed"}, "embedding"),
        ({"ai.operationId": "ai.toolCall", "ai.toolCall.name": "clock"}, "tool"),
        ({"db.system": "pinecone", "db.operation": "query"}, "retrieval"),
        ({"db.system": "postgresql"}, "other"),
        ({"mcp.method.name": "tools/call", "gen_ai.tool.name": "clock"}, "tool"),
    ],
)
def test_the_stage_is_told(attributes: dict[str, Any], kind: str) -> None:
    span = ours(attributes)
    assert span["kind"] == kind
    assert span["tool_name"] == ("clock" if kind == "tool" else None)


def test_a_server_s_span_is_a_request() -> None:
    assert ours({"http.route": "/chat"}, kind="server")["kind"] == "request"
    assert ours({}, kind="consumer")["kind"] == "request"
    assert ours({}, kind="client")["kind"] == "other"


@pytest.mark.parametrize("wrapper", [{"gen_ai.operation.name": "invoke_agent"}, {"ai.operationId": "ai.generateText"}])
def test_usage_on_a_wrapper_is_an_attribute_and_counts_nothing(wrapper: dict[str, Any]) -> None:
    span = ours({**wrapper, "gen_ai.usage.input_tokens": 100, "ai.response.msToFirstChunk": 5})
    assert span["llm"] is None
    assert kept(span)["gen_ai.usage.input_tokens"] == "100"


@pytest.mark.parametrize(
    ("attributes", "events", "ttft"),
    [
        ({"gen_ai.response.time_to_first_chunk": 0.25}, (), SECOND // 4),
        ({"ai.response.msToFirstChunk": 250.0}, (), SECOND // 4),
        ({"langfuse.observation.completion_start_time": '"2026-09-21T14:13:20.250000Z"'}, (), SECOND // 4),
        ({"llm.request.type": "chat"}, [("First Token Stream Event", START + SECOND // 4, {})], SECOND // 4),
        ({"gen_ai.response.time_to_first_chunk": 2.1}, (), 2 * SECOND),
        ({"gen_ai.response.time_to_first_chunk": 99}, (), None),
        ({"langfuse.observation.completion_start_time": "2026-09-21T14:13:20"}, (), None),
    ],
)
def test_the_first_token_is_timed(attributes: dict[str, Any], events: Any, ttft: int | None) -> None:
    span = ours({"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", **attributes}, events=events)
    assert span["llm"]["time_to_first_token"] == ttft


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"gen_ai.response.finish_reasons": ["stop", "content_filter"]}, "content_filter"),
        ({"gen_ai.response.finish_reasons": ["FinishReason.SAFETY"]}, "safety"),
        ({"llm.finish_reason": "refusal"}, "refusal"),
        ({"error.type": "content_policy_violation", "gen_ai.request.model": "m"}, None),
        ({"gen_ai.operation.name": "run_guardrail", "gen_ai.guardrail.verdict.type": "deny"}, "guardrail"),
        (
            {"gen_ai.guardrail.action.type": "block", "gen_ai.security.risk.category": "prompt_injection"},
            "prompt_injection",
        ),
        ({"gen_ai.guardrail.tripwire_triggered": True}, "guardrail"),
        ({"openinference.span.kind": "GUARDRAIL", "output.value": "blocked"}, "guardrail"),
        ({"openinference.span.kind": "GUARDRAIL", "metadata": '{"action": "BLOCK"}'}, "guardrail"),
        ({"openinference.span.kind": "LLM", "output.value": "blocked"}, None),
        ({"langfuse.observation.type": "guardrail", "langfuse.observation.level": "WARNING"}, "guardrail"),
        ({"gen_ai.response.finish_reasons": ["stop"]}, None),
    ],
)
def test_a_block_is_derived(attributes: dict[str, Any], reason: str | None) -> None:
    assert ours(attributes)["block_reason"] == reason


def test_an_error_of_a_content_filter_is_a_block_and_its_message_stays_here() -> None:
    raised = ("exception", START, {"exception.type": "ResponsibleAIPolicyViolation", "exception.message": "secret"})
    span = ours({"gen_ai.operation.name": "chat"}, status="error", events=[raised])
    assert (span["status"], span["error_type"]) == ("error", "ResponsibleAIPolicyViolation")
    assert span["block_reason"] == "responsibleaipolicyviolation"
    assert "secret" not in json.dumps(span)
    assert kept(span)["spanloom.withheld"] == "1"


@pytest.mark.parametrize(
    "name",
    [
        *("ai.request.headers.authorization", "http.request.header.x-api-key", "http.response.header.set_cookie"),
        *("llm.invocation_parameters", "embedding.invocation_parameters", "pydantic_ai.all_messages"),
        *("tool_arguments", "mlflow.spanInputs", "genkit:output", "db.query.parameter.0"),
        *("traceloop.association.properties.email", "traceloop.association.properties.user_name"),
    ],
)
def test_keys_texts_and_people_stay_here_whoever_recorded_them(name: str) -> None:
    said = '{"temperature": 0.5, "user": "ann@example.org", "prediction": {"content": "ann@example.org"}}'
    span = ours({"gen_ai.operation.name": "chat", name: said})
    assert "ann@example.org" not in json.dumps(span)
    assert kept(span)["spanloom.withheld"] == "1"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"gen_ai.response.id": "r-1"}, "r-1"),
        ({"ai.response.id": "r-1"}, "r-1"),
        ({"output.value": '{"id": "r-1", "choices": []}'}, "r-1"),
        ({"output.value": '{"id": "whatever people wrote", "choices": []}'}, None),
    ],
)
def test_the_id_of_an_answer_has_one_name_wherever_it_was_found(said: dict[str, Any], shown: str | None) -> None:
    assert kept(ours({"gen_ai.operation.name": "chat", **said})).get("gen_ai.response.id") == shown


def test_an_error_type_without_an_error_is_an_attribute() -> None:
    span = ours({"error.type": "500"}, status="ok")
    assert (span["error_type"], kept(span)["error.type"]) == (None, "500")


def test_documents_keep_their_order_and_lose_their_texts() -> None:
    span = ours(
        {
            "openinference.span.kind": "RETRIEVER",
            **{f"retrieval.documents.{n}.document.id": f"d{n}" for n in (10, 2, 1)},
            "retrieval.documents.2.document.score": 0.5,
            "retrieval.documents.11.document.content": "only a text",
        }
    )
    found = [(one["id"], one["score"]) for one in span["retrieval"]["documents"]]
    assert found == [("d1", None), ("d2", 0.5), ("d10", None), ("#11", None)]
    assert kept(span)["spanloom.withheld"] == "5"
    listed = ours(
        {"gen_ai.retrieval.documents": '[{"id": "a", "score": 0.9}, {"id": "b"}]', "gen_ai.retrieval.top_k": 5}
    )
    assert [one["id"] for one in listed["retrieval"]["documents"]] == ["a", "b"]
    assert listed["retrieval"]["k"] == 5
    events = [("db.query.result", START, {"db.query.result.id": "v1", "db.query.result.distance": 0.1})]
    stored = ours({"db.system": "chroma", "db.vector.query.top_k": 3}, events=events)
    assert stored["retrieval"] == {"k": 3, "documents": [{"id": "v1", "score": 0.1, "cited": False}]}


def test_verdicts_are_scores() -> None:
    event = (
        "gen_ai.evaluation.result",
        START,
        {"gen_ai.evaluation.name": "toxic", "gen_ai.evaluation.score.value": 0.1},
    )
    span = ours({"evaluations.0.evaluation.name": "helpful", "evaluations.0.evaluation.score": 0.9}, events=[event])
    assert {said["name"]: said["value"] for said in span["scores"]} == {"helpful": 0.9, "toxic": 0.1}


def test_who_and_what_for_is_context() -> None:
    span = ours(
        {
            "session.id": "s-1",
            "user.id": "ann@example.org",
            "tenant.id": "forged",
            "user.email": "ann@x",
            "langfuse.observation.prompt.name": "answer",
            "langfuse.observation.prompt.version": 7,
            "langfuse.experiment.name": "e",
            "http.request.header.x-request-id": ["r-1"],
        },
        about=About(None, {}, {"tenant": "acme"}),
    )
    said = span["context"]
    assert (said["session_id"], said["tenant"], said["experiment"], said["request_id"]) == ("s-1", "acme", "e", "r-1")
    assert said["user"].startswith("k")
    assert "ann@" not in json.dumps(span)
    assert (span["prompt"]["id"], span["prompt"]["version"]) == ("answer", "7")


def test_an_attribute_that_reads_like_a_field_stays_an_attribute() -> None:
    span = ours({"status": "shipped", "provider": "stripe", "usage": "heavy", "kind": "gift"})
    assert (span["llm"], span["status"]) == (None, "unset")
    assert {"status": "shipped", "provider": "stripe", "usage": "heavy", "kind": "gift"}.items() <= kept(span).items()


def test_events_links_and_the_parent_are_kept_and_what_is_too_much_is_counted() -> None:
    events = [("cache.miss", START + n, {"key": n, "content": "text"}) for n in range(200)]
    span = ours({}, events=events, links=[("cd" * 16, "ef" * 8, {"why": "retry"})], remote=True, cut=3)
    assert span["events"][1] == {"name": "cache.miss", "time": START + 1, "attributes": [{"key": "key", "value": "1"}]}
    assert (len(span["events"]), kept(span)["spanloom.cut"]) == (fields.MANY, str(200 - fields.MANY + 3))
    assert span["links"][0]["span_id"] == "ef" * 8
    assert (span["parent_id"], span["parent_remote"]) == (f"{5:016x}", True)


def test_chunks_are_counted_and_not_kept() -> None:
    events = [("gen_ai.content.completion.chunk", START + SECOND * n, {}) for n in (1, 2)]
    span = ours({"gen_ai.operation.name": "chat"}, events=events)
    assert (span["events"], kept(span)["spanloom.chunks"]) == ([], "2")
    assert span["llm"]["time_to_first_token"] == SECOND


def test_a_resource_names_the_service_and_its_rest_is_on_entry_spans() -> None:
    here, rest = resource(
        {
            "service.name": "chat",
            "deployment.environment": "prod",
            "host.name": "h",
            "service.version": "2",
            "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.language": "python",
            "k8s.pod.uid": "u",
            "telemetry.sdk.version": "1.45",
            "process.command_args": ["--password=x"],
        }
    )
    assert here == Resource("chat", "prod", "h", "2", "opentelemetry-python/1.45")
    assert rest == {"k8s.pod.uid": "u"}
    assert kept(ours({}, about=About(here, rest, {}), parent=None))["k8s.pod.uid"] == "u"
    assert "k8s.pod.uid" not in kept(ours({}, about=About(here, rest, {})))
    assert resource({"service.name": "unknown_service:python"})[0] == Resource()


def test_the_tables_name_only_fields_and_no_name_twice() -> None:
    for field, names in dialects.FIELDS.items():
        assert field in wire.FIELDS or field in fields.FACTS.values()
        assert len(set(names)) == len(names)
    names = [name for group in dialects.FIELDS.values() for name in group]
    names += [name for group in dialects.USAGE.values() for name in group] + [*dialects.FIRST_TOKEN]
    assert len(set(names)) == len(names)
    assert not withheld.CONTENT & set(names)
    assert {kind for _, stages in dialects.KINDS for kind in stages} <= {*fields.KINDS}


ANY_NAME = st.one_of(
    st.sampled_from([name for group in dialects.FIELDS.values() for name in group]),
    st.sampled_from([name for name, _ in dialects.KINDS]),
    st.sampled_from([name for group in dialects.USAGE.values() for name in group]),
    st.sampled_from([*dialects.UNFOLD, *withheld.CONTENT, *dialects.FIRST_TOKEN, *dialects.FIRST_TOKEN_AT]),
    st.sampled_from([f"{prefix}{n}.document.id" for prefix in dialects.DOCUMENTS for n in ("0", "x", "9" * 30)]),
    st.text(max_size=20),
)
ANY_VALUE = st.recursive(
    st.one_of(st.text(max_size=20), st.integers(), st.floats(), st.booleans(), st.binary(max_size=9), st.none())
    | st.sampled_from(["chat", "LLM", "generation", '{"input": {"a": [1]}}', '{"action": "block"}', "[1]", "{"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@given(st.dictionaries(ANY_NAME, ANY_VALUE, max_size=30), st.sampled_from(fields.OTEL_KINDS), st.booleans())
def test_whatever_comes_becomes_a_span_and_what_no_table_knows_is_kept(
    attributes: dict[str, Any], kind: str, failed: bool
) -> None:
    events = [(name, START, attributes) for name in (*dialects.DOCUMENT_EVENTS, "exception")]
    span = ours(attributes, kind=kind, status="error" if failed else "ok", events=events)
    known = {name for group in (*dialects.FIELDS.values(), *dialects.USAGE.values()) for name in group}
    strange = {
        name
        for name, value in attributes.items()
        if name not in known | withheld.CONTENT | dialects.FIRST_TOKEN.keys() and value is not None
    }
    shown = {
        name.encode("utf-8", "replace").decode() for name in strange if not name.startswith(withheld.CONTENT_PREFIXES)
    }
    assert shown <= kept(span).keys()


def test_a_service_that_only_its_project_names_has_that_name() -> None:
    said = {"service.name": "unknown_service:python", "openinference.project.name": "answers", "langfuse.release": "7"}
    assert resource(said)[0] == Resource(service="answers", version="7")
    assert resource({**said, "service.name": "chat"})[0].service == "chat"
