import gzip
import json
from contextlib import suppress
from copy import deepcopy
from typing import Any

import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from spanloom.gateway import otlp
from spanloom.gateway.otlp import JSON, PROTOBUF, BadRequest, TooLarge

NOW = 1_790_000_000_000_000_000
JSON_REQUEST: dict[str, Any] = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "chat"}}]},
            "scopeSpans": [
                {
                    "scope": {"name": "openai"},
                    "spans": [
                        {
                            "traceId": "5B8EFFF798038103D269B633813FC60C",
                            "spanId": "eee19b7ec3c1b174",
                            "parentSpanId": "eee19b7ec3c1b173",
                            "flags": 768,
                            "name": "chat gpt-4o",
                            "kind": 3,
                            "startTimeUnixNano": str(NOW),
                            "endTimeUnixNano": NOW + 5,
                            "status": {"code": 2, "message": "secret"},
                            "attributes": [
                                {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "7"}},
                                {"key": "list", "value": {"arrayValue": {"values": [{"boolValue": True}, {}]}}},
                                {"key": "pair", "value": {"kvlistValue": {"values": [{"key": "a", "value": {}}]}}},
                            ],
                            "events": [{"name": "e", "timeUnixNano": "9"}],
                            "links": [{"traceId": "ab" * 16, "spanId": "cd" * 8}],
                            "droppedEventsCount": 2,
                            "newField": {"of": "a later version"},
                        }
                    ],
                }
            ],
        }
    ]
}


def request(*spans: Span) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])])


def span(**fields: Any) -> Span:
    return Span(**{"trace_id": b"t" * 16, "span_id": b"s" * 8, "end_time_unix_nano": NOW, **fields})


def test_a_span_in_json_is_read_with_ids_in_hexadecimal() -> None:
    ((about, found),) = otlp.read(
        otlp.decode(json.dumps(JSON_REQUEST).encode(), JSON).request, {"tenant": "acme"}
    ).spans
    assert about.resource is not None
    assert (about.resource.service, about.facts) == ("chat", {"tenant": "acme"})
    assert found.trace_id == "5b8efff798038103d269b633813fc60c"
    assert (found.span_id, found.parent, found.remote) == (0xEEE19B7EC3C1B174, 0xEEE19B7EC3C1B173, True)
    assert (found.kind, found.status, found.scope, found.cut) == ("client", "error", "openai", 2)
    assert (found.start, found.end) == (NOW, NOW + 5)
    assert found.attributes == {"gen_ai.usage.input_tokens": 7, "list": [True, None], "pair": {"a": None}}
    assert (found.events, found.links) == ([("e", 9, {})], [("ab" * 16, "cd" * 8, {})])


def test_both_encodings_say_the_same() -> None:
    asked = otlp.decode(json.dumps(JSON_REQUEST).encode(), JSON)
    assert otlp.decode(asked.request.SerializeToString(), PROTOBUF) == asked


@pytest.mark.parametrize("body", [b"\xff\xff", b"\x0a\x05abc"])
def test_what_is_no_protobuf_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest):
        otlp.decode(body, PROTOBUF)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"resourceSpans": 5}'),
        json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": 5}]}]}).encode(),
        json.dumps({"resourceSpans": [{"resource": 5, "scopeSpans": [{"spans": []}]}]}).encode(),
    ],
)
def test_what_is_no_json_request_is_a_bad_request_in_one_line(body: bytes) -> None:
    with pytest.raises(BadRequest) as told:
        otlp.decode(body, JSON)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "bad",
    [
        *({"traceId": "xyz"}, {"name": 5}, 5, None, {"attributes": [{"key": "a", "value": {"intValue": "many"}}]}),
        {"links": [{"spanId": "zz"}]},
    ],
)
def test_a_span_in_json_that_cannot_be_read_does_not_cost_the_others(bad: Any) -> None:
    said = deepcopy(JSON_REQUEST)
    spans = said["resourceSpans"][0]["scopeSpans"][0]["spans"]
    spans[:] = [bad, *spans, bad]
    request, unread = otlp.decode(json.dumps(said).encode(), JSON)
    assert request == otlp.decode(json.dumps(JSON_REQUEST).encode(), JSON).request
    ((why, count),) = unread.items()
    assert (count, "\n" in why) == (2, False)
    assert why.startswith("not a span as OTLP's JSON has it: ")


@given(st.binary(max_size=60))
def test_junk_is_refused_or_read_and_never_fails_otherwise(body: bytes) -> None:
    for content_type in (PROTOBUF, JSON):
        with suppress(BadRequest):
            otlp.read(otlp.decode(body, content_type).request, {})


def test_an_empty_request_is_a_success() -> None:
    assert otlp.read(otlp.decode(b"", PROTOBUF).request, {}) == ([], {})
    assert otlp.read(otlp.decode(b"{}", JSON).request, {}) == ([], {})


def test_spans_that_are_none_are_rejected_by_reason_and_the_others_taken() -> None:
    bad = (
        *(span(trace_id=b""), span(trace_id=b"\0" * 16), span(span_id=b"short"), span(parent_span_id=b"x")),
        *(span(end_time_unix_nano=0), span(end_time_unix_nano=2**63)),
    )
    found = otlp.read(request(span(), *bad), {})
    assert len(found.spans) == 1
    assert found.rejected == {
        "ids are missing or of a wrong length": 4,
        "times are missing or out of range": 2,
    }


def test_where_nobody_says_so_the_parent_of_a_server_is_remote() -> None:
    spans = [span(parent_span_id=b"p" * 8, kind=kind) for kind in (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_INTERNAL)]
    said = span(parent_span_id=b"p" * 8, kind=Span.SPAN_KIND_SERVER, flags=0x100)
    root = span(kind=Span.SPAN_KIND_SERVER, flags=0x300)
    assert [found.remote for _, found in otlp.read(request(*spans, said, root), {}).spans] == [
        True,
        False,
        False,
        False,
    ]


def test_numbers_of_later_versions_are_the_usual_ones() -> None:
    odd = Span()
    odd.ParseFromString(span().SerializeToString() + b"\x30\x63" + b"\x7a\x02\x18\x63")  # kind 99, status 99
    assert odd.kind == 99
    ((_, found),) = otlp.read(request(odd), {}).spans
    assert (found.kind, found.status) == ("internal", "unset")
    assert Status.STATUS_CODE_ERROR == 2


def test_what_is_nested_too_deeply_ends_in_nothing() -> None:
    nested = AnyValue(string_value="x")
    for _ in range(40):
        nested = AnyValue(array_value=ArrayValue(values=[nested]))
    found = otlp.attributes([KeyValue(key="a", value=nested)])
    assert str(found["a"]).count("[") == 32


def test_gzip_is_unpacked_up_to_the_limit() -> None:
    assert otlp.inflated(gzip.compress(b"ab") + gzip.compress(b"cd"), 4) == b"abcd"
    with pytest.raises(TooLarge):
        otlp.inflated(gzip.compress(b"abcde"), 4)
    with pytest.raises(TooLarge):
        otlp.inflated(gzip.compress(bytes(100 * 1024 * 1024)), 1024)
    for junk in (b"junk", gzip.compress(b"abcd")[:-9], gzip.compress(b"ab") + b"junk"):
        with pytest.raises(BadRequest):
            otlp.inflated(junk, 1024)


def test_answers_are_what_the_protocol_s_own_classes_read() -> None:
    assert otlp.answer(0, "", PROTOBUF) == b""
    assert otlp.answer(0, "", JSON) == b"{}"
    partial = ExportTraceServiceResponse.FromString(otlp.answer(3, "why", PROTOBUF)).partial_success
    assert (partial.rejected_spans, partial.error_message) == (3, "why")
    assert json.loads(otlp.answer(3, "why", JSON)) == {"partialSuccess": {"rejectedSpans": "3", "errorMessage": "why"}}
    failure = status_pb2.Status.FromString(otlp.status(14, "wait ä" * 99, PROTOBUF))
    assert (failure.code, failure.message) == (14, "wait ä" * 99)
    assert json.loads(otlp.status(3, "bad", JSON)) == {"code": 3, "message": "bad"}
    detailed = status_pb2.Status.FromString(otlp.retry_info(8, "slow down", 300))
    info = error_details_pb2.RetryInfo()
    assert detailed.details[0].Unpack(info)
    assert (detailed.code, info.retry_delay.seconds) == (8, 300)
