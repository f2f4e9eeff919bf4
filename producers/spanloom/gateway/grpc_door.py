"""OTLP over gRPC: TraceService/Export."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from spanloom.gateway import otlp
from spanloom.gateway.door import Answer, Door, Verdict
from spanloom.gateway.http_door import api_key

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
_CODES = {
    Verdict.BAD: grpc.StatusCode.INVALID_ARGUMENT,
    Verdict.UNKNOWN_KEY: grpc.StatusCode.UNAUTHENTICATED,
    Verdict.TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Verdict.TOO_MANY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Verdict.AWAY: grpc.StatusCode.UNAVAILABLE,
}


Server = Any
"""A grpc.aio.Server; grpc is published without types."""


def server(door: Door) -> tuple[Server, int]:
    """Return a server that is not started yet, and its port. Raises RuntimeError where the port cannot be had."""
    settings = door.settings
    made = grpc.aio.server(options=[("grpc.max_receive_message_length", settings.gateway_request_bytes)])
    handler = grpc.unary_unary_rpc_method_handler(_export(door))  # bytes in, bytes out
    made.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Export": handler}),))
    port = made.add_insecure_port(f"{settings.gateway_host}:{settings.gateway_grpc_port}")
    return made, port


def _export(door: Door) -> Callable[[bytes, Any], Awaitable[bytes]]:
    async def export(body: bytes, context: Any) -> bytes:
        said = {name: text for name, text in context.invocation_metadata() or () if isinstance(text, str)}
        key = door.knock(api_key(said.get("x-api-key"), said.get("authorization")))
        answer = key if isinstance(key, Answer) else await door.take(body, otlp.PROTOBUF, packed=False, key=key)
        if answer.verdict is not Verdict.DONE:
            await _refuse(context, answer)
        return otlp.answer(answer.rejected, answer.message, otlp.PROTOBUF)

    return export


async def _refuse(context: Any, answer: Answer) -> None:
    code = _CODES[answer.verdict]
    if answer.retry_after:  # a RESOURCE_EXHAUSTED without it is not sent again
        details = otlp.retry_info(code.value[0], answer.message, answer.retry_after)
        context.set_trailing_metadata((("grpc-status-details-bin", details),))
    await context.abort(code, answer.message)
