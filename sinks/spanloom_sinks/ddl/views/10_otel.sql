-- `spans` under the names and types of OpenTelemetry's ClickHouse exporter: Grafana's ClickHouse plugin and any tool made for that table.
CREATE OR REPLACE VIEW otel_traces AS
SELECT
    start AS Timestamp,
    trace_id AS TraceId,
    span_id AS SpanId,
    parent_id AS ParentSpanId,
    '' AS TraceState,
    name AS SpanName,
    initcap(otel_kind)::LowCardinality(String) AS SpanKind,
    service AS ServiceName,
    CAST(mapFilter((k, v) -> v != '', map(
        'service.name', service, 'service.version', version, 'deployment.environment.name', environment, 'host.name', host
    )) AS Map(LowCardinality(String), String)) AS ResourceAttributes,
    'spanloom' AS ScopeName,
    '' AS ScopeVersion,
    CAST(mapUpdate(attributes, mapFilter((k, v) -> v != '', map(
        'spanloom.kind', kind,
        'error.type', error_type,
        'http.request.header.x-request-id', request_id,
        'session.id', session_id,
        'user.id', user,
        'gen_ai.provider.name', provider,
        'gen_ai.request.model', request_model,
        'gen_ai.response.model', response_model,
        'gen_ai.usage.input_tokens', ifNull(toString(input_tokens + ifNull(cache_read_tokens, 0) + ifNull(cache_write_tokens, 0)), ''),
        'gen_ai.usage.output_tokens', ifNull(toString(output_tokens + ifNull(reasoning_tokens, 0)), ''),
        'gen_ai.tool.name', tool_name,
        'spanloom.tenant', tenant,
        'spanloom.prompt.id', prompt_id,
        'spanloom.prompt.version', prompt_version,
        'spanloom.block_reason', block_reason,
        'spanloom.cost', ifNull(toString(cost / 1e9), '')
    ))) AS Map(LowCardinality(String), String)) AS SpanAttributes,
    toUInt64(duration) AS Duration,
    initcap(status)::LowCardinality(String) AS StatusCode,
    error_type::String AS StatusMessage,
    events.time AS `Events.Timestamp`,
    events.name AS `Events.Name`,
    events.attributes AS `Events.Attributes`,
    links.trace_id AS `Links.TraceId`,
    links.span_id AS `Links.SpanId`,
    arrayMap(l -> '', links.span_id) AS `Links.TraceState`,
    links.attributes AS `Links.Attributes`
FROM spans FINAL;

CREATE OR REPLACE VIEW otel_traces_trace_id_ts AS
SELECT trace_id AS TraceId, min(start) AS Start, max(start) AS End
FROM spans
WHERE trace_id != ''
GROUP BY trace_id;
