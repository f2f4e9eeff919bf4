"""ClickHouse's HTTP interface on 127.0.0.1 over the engine of `engine`.

It answers clickhouse-connect, curl and Grafana's plugin as a server does: `/`, `/ping`, `/replicas_status`; the
statement in `query` or the body, settings and `param_*` in the query string, INSERT data in any format streamed
through, bodies compressed both ways, `X-ClickHouse-*` headers. Not here: sessions, external data, `compress=1`
(ClickHouse's own frames), the native protocol.

Who may write: the user `reader` and every GET only read, as on a real server. There are no passwords; instead a
request that a web page sent (a foreign Host or Origin) is refused.
`python -m spanloom_stack.clickhouse --data DIR --port PORT` runs it.
"""

import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import click
import uvicorn
from anyio import from_thread, to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from spanloom_stack import answering, asking, encoding, native, net, sql
from spanloom_stack.engine import Answer, Engine, EngineError

_CHUNK = 4 << 20  # bytes gathered before they are handed to the engine's thread
_LONGEST_STATEMENT = 16 << 20
_THREADS = 16


def application(engine: Engine) -> Starlette:
    """The interface over an open engine."""

    async def statement(request: Request) -> Response:
        refused = asking.foreign(request)
        if refused:
            return PlainTextResponse(refused, 403)
        headers = answering.headers(engine, request)
        try:
            answer, format = await _run(engine, request, threads)
            return answering.answered(answer, format, headers, request)
        except EngineError as error:
            return answering.failed(error, engine.version, headers)
        except encoding.Malformed as error:
            return answering.failed(asking.error(354, f"{error}", "ZLIB_INFLATE_FAILED"), engine.version, headers)
        except native.Unsupported as error:
            return answering.failed(asking.error(48, f"{error}", "NOT_IMPLEMENTED"), engine.version, headers)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it

    async def ping(request: Request) -> Response:
        return PlainTextResponse("Ok.\n", headers=answering.headers(engine, request))

    threads = anyio.CapacityLimiter(_THREADS)
    return Starlette(
        routes=[
            Route("/ping", ping),
            Route("/replicas_status", ping),
            Route("/", statement, methods=["GET", "POST", "HEAD"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
    )


async def _run(engine: Engine, request: Request, threads: anyio.CapacityLimiter) -> tuple[Answer, str]:
    """Run the request's statement in a thread; return its answer and the answer's format."""
    asked = asking.asked(request)
    body = _gather(encoding.decompressed(request.stream(), request.headers.get("content-encoding", "")))
    default = asking.default_format(request)
    if asking.is_form(request):
        query, parameters = asking.form(request, await _whole(b"", body))
        asked = asked._replace(parameters={**asked.parameters, **parameters})
        answer = await to_thread.run_sync(lambda: engine.query(query, default, asked), limiter=threads)
        return answer, sql.output_format(query, default)
    text = request.query_params.get("query", "").encode()
    first = await anext(body, b"")
    text, rest = (text, first) if sql.insert(text) else (_join(text, first), b"")
    insert = sql.insert(text)
    if insert:
        head = [part for part in (text[insert.data :], rest) if part]
        answer = await to_thread.run_sync(lambda: engine.insert(insert, _pulled(head, body), asked), limiter=threads)
        return answer, "TabSeparated"
    query = await _statement(text, body)
    answer = await to_thread.run_sync(lambda: engine.query(query, default, asked), limiter=threads)
    return answer, sql.output_format(query, default)


async def _statement(text: bytes, body: AsyncIterator[bytes]) -> str:
    """The whole statement that `text` and `body` are."""
    text = await _whole(text, body)
    if not text.strip():
        raise asking.error(62, "Syntax error: Empty query", "SYNTAX_ERROR")
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise asking.error(62, "Syntax error: the statement is not UTF-8", "SYNTAX_ERROR") from None


async def _whole(text: bytes, body: AsyncIterator[bytes]) -> bytes:
    async for more in body:
        text += more
        if len(text) > _LONGEST_STATEMENT:
            raise asking.error(62, "Syntax error: the statement is longer than 16 MiB", "SYNTAX_ERROR")
    return text


async def _gather(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The body in pieces of some megabytes: each costs a change of threads."""
    piece = bytearray()
    async for chunk in body:
        piece += chunk
        if len(piece) >= _CHUNK:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def _pulled(head: list[bytes], rest: AsyncIterator[bytes]) -> Iterator[bytes]:
    """`head`, then `rest` drawn from the event loop; called in a worker thread."""
    yield from head
    while piece := from_thread.run(anext, rest, b""):
        yield piece


def _join(text: bytes, body: bytes) -> bytes:
    return text + b"\n" + body if text and body else text or body


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder that keeps the engine's state.")
@click.option("--port", default=8123, show_default=True, help="Port on 127.0.0.1; 0 takes a free one.")
def main(data: Path, port: int) -> None:
    """Run a ClickHouse engine behind ClickHouse's HTTP interface, in the foreground."""
    try:
        port = net.claim(port)
        engine = Engine(data)
    except (net.PortTaken, EngineError) as error:
        sys.exit(f"clickhouse: {error}")
    click.echo(f"starting on 127.0.0.1:{port}")
    # uvicorn stops in order on SIGTERM, then raises it again: by then it must end us through `finally`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        uvicorn.run(
            application(engine),
            host="127.0.0.1",
            port=port,
            log_level="warning",
            timeout_graceful_shutdown=5,
            server_header=False,
        )
    finally:
        engine.close()


if __name__ == "__main__":
    main()
