"""`otel_traces` answers what Grafana's ClickHouse plugin asks."""

import pytest

# As the plugin generates it for a trace id (its sqlGenerator, generateTraceIdQuery).
BY_TRACE_ID = """
WITH '{id}' AS trace_id,
  (SELECT min(Start) FROM otel_traces_trace_id_ts WHERE TraceId = trace_id) AS trace_start,
  (SELECT max(End) + 1 FROM otel_traces_trace_id_ts WHERE TraceId = trace_id) AS trace_end
SELECT "TraceId" AS traceID, "SpanId" AS spanID, "ParentSpanId" AS parentSpanID, "ServiceName" AS serviceName,
  "SpanName" AS operationName, multiply(toUnixTimestamp64Nano("Timestamp"), 0.000001) AS startTime,
  multiply("Duration", 0.000001) AS duration,
  arrayMap(key -> map('key', key, 'value', "SpanAttributes"[key]), mapKeys("SpanAttributes")) AS tags,
  arrayMap(key -> map('key', key, 'value', "ResourceAttributes"[key]), mapKeys("ResourceAttributes")) AS serviceTags,
  if("StatusCode" IN ('Error', 'STATUS_CODE_ERROR'), 2, 0) AS statusCode,
  arrayMap((name, timestamp, attributes) -> tuple(name, toString(toUnixTimestamp64Milli(timestamp)),
    arrayMap(key -> map('key', key, 'value', attributes[key]), mapKeys(attributes))),
    `Events.Name`, `Events.Timestamp`, `Events.Attributes`) AS logs,
  arrayMap((traceID, spanID, attributes) -> tuple(traceID, spanID,
    arrayMap(key -> map('key', key, 'value', attributes[key]), mapKeys(attributes))),
    `Links.TraceId`, `Links.SpanId`, `Links.Attributes`) AS references,
  "SpanKind" AS kind, "StatusMessage" AS statusMessage, "ScopeName" AS instrumentationLibraryName,
  "TraceState" AS traceState
FROM otel_traces
WHERE traceID = trace_id AND "Timestamp" >= trace_start AND "Timestamp" <= trace_end
"""

# Columns and types of the table that OpenTelemetry's ClickHouse exporter makes.
EXPORTER = {
    "Timestamp": "DateTime64(9)",
    **dict.fromkeys(("TraceId", "SpanId", "ParentSpanId", "TraceState"), "String"),
    **dict.fromkeys(("SpanName", "SpanKind", "ServiceName"), "LowCardinality(String)"),
    "ResourceAttributes": "Map(LowCardinality(String), String)",
    **dict.fromkeys(("ScopeName", "ScopeVersion"), "String"),
    "SpanAttributes": "Map(LowCardinality(String), String)",
    "Duration": "UInt64",
    "StatusCode": "LowCardinality(String)",
    "StatusMessage": "String",
    "Events.Timestamp": "Array(DateTime64(9))",
    "Events.Name": "Array(LowCardinality(String))",
    "Events.Attributes": "Array(Map(LowCardinality(String), String))",
    **dict.fromkeys(("Links.TraceId", "Links.SpanId", "Links.TraceState"), "Array(String)"),
    "Links.Attributes": "Array(Map(LowCardinality(String), String))",
}
START = 1_700_000_000_000_000_000


def test_it_has_the_columns_and_types_of_the_exporters_table(store):
    # A time zone changes how a time is shown, not what it is.
    types = (
        "SELECT name, replaceAll(type, ', \\'UTC\\'', '') FROM system.columns "
        "WHERE database = currentDatabase() AND table = 'otel_traces'"
    )
    assert dict(store.query(types).iter_rows()) == EXPORTER


@pytest.fixture
def stored(fill, traffic):
    root = traffic.span(start=START, end=START + 2_500_000, status="error", error_type="timeout")
    child = traffic.span(
        trace_id=root["trace_id"], parent_id=root["span_id"], kind="llm", otel_kind="client",
        start=START + 1_000_000, end=START + 2_000_000,
        attributes=[{"key": "region", "value": "eu"}],
        llm={"provider": "openai", "request_model": "gpt-4o", "usage": "measured", "input_tokens": 3,
             "output_tokens": 4},
        events=[{"name": "retry", "time": START + 5_000_000, "attributes": [{"key": "n", "value": "1"}]}],
        links=[{"trace_id": "0" * 31 + "1", "span_id": "0" * 15 + "2", "attributes": []}],
    )  # fmt: skip
    message = traffic.encoded([root, child])
    log_time = START // 10**6
    fill("llm.spans", [(0, log_time, message), (1, log_time, message)])
    return root, child


def test_the_plugins_query_for_a_trace_finds_each_of_its_spans_once(store, stored):
    root, child = stored
    rows = store.query(BY_TRACE_ID.replace("{id}", root["trace_id"])).sort("startTime").rows(named=True)
    assert [row["spanID"] for row in rows] == [root["span_id"], child["span_id"]]
    first, second = rows
    assert (first["parentSpanID"], first["duration"], first["statusCode"], first["kind"]) == ("", 2.5, 2, "Server")
    assert first["startTime"] == START / 10**6
    assert first["statusMessage"] == "timeout"
    tags = {tag["key"]: tag["value"] for tag in map(dict, second["tags"])}
    assert tags["region"] == "eu"
    assert (tags["gen_ai.request.model"], tags["gen_ai.usage.output_tokens"]) == ("gpt-4o", "4")
    assert {"service.name": "chat"}.items() <= {
        tag["key"]: tag["value"] for tag in map(dict, second["serviceTags"])
    }.items()
    assert len(second["logs"]) == len(second["references"]) == 1
