"""OTLP over HTTP: POST /v1/traces, and GET /healthz for whoever balances load."""

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from spanloom.gateway import otlp
from spanloom.gateway.door import Answer, Door, Verdict

_STATUS = {
    Verdict.DONE: (200, 0),
    Verdict.BAD: (400, 3),
    Verdict.UNKNOWN_KEY: (401, 16),
    Verdict.TOO_LARGE: (413, 8),
    Verdict.TOO_MANY: (429, 8),
    Verdict.AWAY: (503, 14),
}
"""Verdict → status of HTTP, code of gRPC in the body."""


def application(door: Door) -> Starlette:
    """Return the ASGI application of a door."""
    return Starlette(
        routes=[
            Route("/v1/traces", _traces(door), methods=["POST"]),
            Route("/healthz", _health(door), methods=["GET"]),
        ]
    )


def _traces(door: Door) -> Callable[[Request], Awaitable[Response]]:
    async def traces(request: Request) -> Response:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        packing = request.headers.get("content-encoding", "identity").strip().lower()
        if content_type not in (otlp.PROTOBUF, otlp.JSON):
            return PlainTextResponse(f"send {otlp.PROTOBUF} or {otlp.JSON}\n", 415)
        if packing not in ("gzip", "identity", ""):
            return PlainTextResponse("send it with gzip or unpacked\n", 415)
        return _response(await _answered(door, request, content_type, packing == "gzip"), content_type)

    return traces


async def _answered(door: Door, request: Request, content_type: str, packed: bool) -> Answer:
    key = door.knock(api_key(request.headers.get("x-api-key"), request.headers.get("authorization")))
    if isinstance(key, Answer):
        return key
    most = door.settings.gateway_request_bytes
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > most:
                return Answer(Verdict.TOO_LARGE, f"a request may have {most} bytes, decompressed")
    except ClientDisconnect:
        return Answer(Verdict.BAD, "the request ends early")
    return await door.take(bytes(body), content_type, packed, key)


def _response(answer: Answer, content_type: str) -> Response:
    code, grpc_code = _STATUS[answer.verdict]
    if answer.verdict is Verdict.DONE:
        body = otlp.answer(answer.rejected, answer.message, content_type)
    else:
        body = otlp.status(grpc_code, answer.message, content_type)
    headers = {"retry-after": str(answer.retry_after)} if answer.retry_after else {}
    if answer.verdict is Verdict.UNKNOWN_KEY:
        headers["www-authenticate"] = "Bearer"
    return Response(body, code, headers, content_type)


def _health(door: Door) -> Callable[[Request], Awaitable[Response]]:
    async def health(_: Request) -> Response:
        is_open = door.sender.is_open
        return PlainTextResponse("open\n" if is_open else "Kafka is not to be had\n", 200 if is_open else 503)

    return health


def api_key(named: str | None, authorization: str | None) -> str | None:
    """Return the key of a request: of `x-api-key`, or `authorization: Bearer`."""
    scheme, _, token = (authorization or "").partition(" ")
    return named or (token.strip() if scheme.lower() == "bearer" else None)
