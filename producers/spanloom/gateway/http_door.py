"""OTLP over HTTP: POST /v1/traces, and GET /healthz for whoever balances load."""

from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from spanloom.gateway import otlp
from spanloom.gateway.door import Answer, Asked, Door, Verdict

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
    most = door.settings.gateway_request_bytes

    async def traces(request: Request) -> Response:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        packing = request.headers.get("content-encoding", "identity").strip().lower()
        if content_type not in (otlp.PROTOBUF, otlp.JSON):
            return PlainTextResponse(f"send {otlp.PROTOBUF} or {otlp.JSON}\n", 415)
        if packing not in ("gzip", "identity", ""):
            return PlainTextResponse("send it with gzip or unpacked\n", 415)
        asked = Asked(
            "http",
            api_key(request.headers.get("x-api-key"), request.headers.get("authorization")),
            _size(request, most),
            content_type,
            packed=lambda _: packing == "gzip",
            pieces=_pieces(request),
        )
        return _response(await door.answer(asked), content_type)

    return traces


def _size(request: Request, most: int) -> int:
    """Return the bytes of a body; of one that comes in chunks, how many it may have."""
    said = request.headers.get("content-length", "")
    return int(said) if said.isascii() and said.isdigit() else most


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    try:
        async for piece in request.stream():
            yield piece
    except ClientDisconnect:
        raise otlp.BadRequest("the request ends early") from None


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
