"""OTLP over gRPC: TraceService/Export.

The server's handler is one of a stream: it runs when a call's head has come, so that nothing is read of who has no key,
or finds no room. What is packed is unpacked by us, to the limit, and not by gRPC, which would hold it unpacked for all
calls at once.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from spanloom.gateway import otlp
from spanloom.gateway.door import Answer, Asked, Door, Verdict
from spanloom.gateway.http_door import api_key
from spanloom.gateway.tls import Certificate

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
_CODES = {
    Verdict.BAD: grpc.StatusCode.INVALID_ARGUMENT,
    Verdict.UNKNOWN_KEY: grpc.StatusCode.UNAUTHENTICATED,
    Verdict.TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Verdict.TOO_MANY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Verdict.AWAY: grpc.StatusCode.UNAVAILABLE,
}
_IDENTITY, _GZIP = 0b001, 0b100


Server = Any
"""A grpc.aio.Server; grpc is published without types."""


def server(door: Door, certificate: Certificate | None) -> tuple[Server, int]:
    """Return a server that is not started yet, and its port. Raises RuntimeError where the port cannot be had."""
    settings = door.settings
    options = [
        ("grpc.max_receive_message_length", settings.gateway_request_bytes),
        ("grpc.per_message_decompression", 0),
        ("grpc.compression_enabled_algorithms_bitset", _IDENTITY | _GZIP),
        ("grpc.http2.bdp_probe", 0),  # else megabytes of each call are taken in before anybody reads them
        ("grpc.so_reuseport", 0),  # a port that is taken is taken
    ]
    made = grpc.aio.server(options=options)
    handler = grpc.stream_unary_rpc_method_handler(_export(door))  # bytes in, bytes out
    made.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Export": handler}),))
    where = f"{settings.gateway_host}:{settings.gateway_grpc_port}"
    if certificate is None:
        return made, made.add_insecure_port(where)
    credentials = grpc.ssl_server_credentials([(certificate.key, certificate.chain)])
    return made, made.add_secure_port(where, credentials)


def _export(door: Door) -> Callable[[AsyncIterator[bytes], Any], Awaitable[bytes]]:
    most = door.settings.gateway_request_bytes

    async def export(_: AsyncIterator[bytes], context: Any) -> bytes:
        said = {name: text for name, text in context.invocation_metadata() or () if isinstance(text, str)}
        key = api_key(said.get("x-api-key"), said.get("authorization"))
        answer = await door.answer(
            Asked("grpc", key, most, otlp.PROTOBUF, otlp.is_gzip, _message(context), unseen=True)
        )
        if answer.verdict is not Verdict.DONE:
            await _refuse(context, answer)
        return otlp.answer(answer.rejected, answer.message, otlp.PROTOBUF)

    return export


async def _message(context: Any) -> AsyncIterator[bytes]:
    """Yield the call's message; the iterator of messages would hold it as long as the call lasts."""
    message = await context.read()
    if message is grpc.aio.EOF:
        raise otlp.BadRequest("the call ends without a message")
    yield message


async def _refuse(context: Any, answer: Answer) -> None:
    code = _CODES[answer.verdict]
    if answer.retry_after:  # a RESOURCE_EXHAUSTED without it is not sent again
        details = otlp.retry_info(code.value[0], answer.message, answer.retry_after)
        context.set_trailing_metadata((("grpc-status-details-bin", details),))
    await context.abort(code, answer.message)
