"""ClickHouse's HTTP interface on 127.0.0.1 over the engine of `engine`.

It answers clickhouse-connect, curl and Grafana's plugin as a server does: `/`, `/ping`, `/replicas_status`; the
statement in `query` or the body, settings and `param_*` in the query string, INSERT data in any format streamed
through, bodies compressed both ways, `X-ClickHouse-*` headers. Not here: sessions, external data, `compress=1`
(ClickHouse's own frames), the native protocol.

Who may write: the user `reader` and every GET only read, as on a real server. There are no passwords; instead a
request that a web page sent (a foreign Host or Origin) is refused.
`python -m spanloom_stack.clickhouse --data DIR --port PORT` runs it.
"""

import base64
import json
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
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

from spanloom_stack import encoding, net, sql
from spanloom_stack.engine import Answer, Engine, EngineError
from spanloom_stack.engine import Request as EngineRequest

_CHUNK = 4 << 20  # bytes gathered before they are handed to the engine's thread
_LONGEST_STATEMENT = 16 << 20
_THREADS = 16

# Query-string names that are the interface's own; every other one is a setting.
_OWN = frozenset(
    {
        *("query", "query_id", "database", "default_format", "user", "password", "role", "quota_key"),
        *("session_id", "session_timeout", "session_check", "close_session", "client_protocol_version", "stacktrace"),
        *("compress", "decompress", "enable_http_compression", "http_zlib_compression_level"),
        *("wait_end_of_query", "buffer_size", "send_progress_in_http_headers", "http_headers_progress_interval_ms"),
    }
)
# What the user `reader` may set, as in deploy/compose.
READER_SETTINGS = frozenset({"max_execution_time", "max_block_size", "date_time_output_format"})
_READER_SECONDS = 60.0
_CONTENT_TYPES = {
    "JSON": "application/json",
    "JSONCompact": "application/json",
    "JSONEachRow": "application/x-ndjson",
    "CSV": "text/csv; charset=UTF-8",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "Native": "application/octet-stream",
    "Arrow": "application/vnd.apache.arrow.file",
    "ArrowStream": "application/vnd.apache.arrow.stream",
    "Parquet": "application/vnd.apache.parquet",
}
# ClickHouse's own mapping of error codes to status, for the codes a client meets; every other one is 500.
_STATUS = {
    **dict.fromkeys((6, 26, 27, 36, 38, 41, 42, 43, 53, 62, 69, 70, 72, 117, 128, 456, 457), 400),
    **dict.fromkeys((164, 192, 193, 497, 516), 403),
    **dict.fromkeys((16, 46, 47, 50, 56, 60, 63, 73, 81, 115), 404),
    159: 408,
    48: 501,
}


def application(engine: Engine) -> Starlette:
    """The interface over an open engine."""

    async def statement(request: Request) -> Response:
        refused = _foreign(request)
        if refused:
            return PlainTextResponse(refused, 403)
        headers = _headers(engine, request)
        try:
            answer, format = await _run(engine, request, threads)
        except EngineError as error:
            text = f"{error} (version {engine.version})\n" if "(version " not in str(error) else f"{error}\n"
            code = {"X-ClickHouse-Exception-Code": str(error.code)}
            return PlainTextResponse(text, _STATUS.get(error.code, 500), headers | code)
        except encoding.Malformed as error:
            return PlainTextResponse(
                f"Code: 354. DB::Exception: {error}. (ZLIB_INFLATE_FAILED)\n",
                400,
                headers | {"X-ClickHouse-Exception-Code": "354"},
            )
        except ClientDisconnect:
            return Response(status_code=400)
        return _answer(answer, format, headers, request)

    async def ping(request: Request) -> Response:
        return PlainTextResponse("Ok.\n", headers=_headers(engine, request))

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
    """Run the request's statement in a thread that pulls the body from the connection as the engine asks for it."""
    body = encoding.decompressed(request.stream(), request.headers.get("content-encoding", ""))
    gathered = _gather(body)
    text = request.query_params.get("query", "").encode()
    first = await anext(gathered, b"")
    text, rest = (text, first) if sql.insert(text) else (_join(text, first), b"")
    insert = sql.insert(text)
    if insert:
        head = [part for part in (text[insert.data :], rest) if part]
        work = to_thread.run_sync(
            lambda: engine.insert(insert, _pulled(head, gathered), _asked(request)), limiter=threads
        )
        return await work, "TabSeparated"
    async for more in gathered:
        text += more
        if len(text) > _LONGEST_STATEMENT:
            raise EngineError(62, "Code: 62. DB::Exception: the statement is longer than 16 MiB. (SYNTAX_ERROR)")
    try:
        query = text.decode()
    except UnicodeDecodeError as error:
        raise EngineError(
            62, "Code: 62. DB::Exception: Syntax error: the statement is not UTF-8. (SYNTAX_ERROR)"
        ) from error
    if not query.strip():
        raise EngineError(62, "Code: 62. DB::Exception: Syntax error: Empty query. (SYNTAX_ERROR)")
    default = _parameter(request, "default_format", "X-ClickHouse-Format") or "TabSeparated"
    answer = await to_thread.run_sync(lambda: engine.query(query, default, _asked(request)), limiter=threads)
    return answer, sql.output_format(query, default)


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


def _asked(request: Request) -> EngineRequest:
    user = _user(request)
    settings = {
        name: value
        for name, value in request.query_params.items()
        if name not in _OWN and not name.startswith("param_")
    }
    for name in settings.keys() - READER_SETTINGS if user == "reader" else ():
        raise EngineError(164, f"Code: 164. DB::Exception: Cannot modify '{name}' setting in readonly mode. (READONLY)")
    if user == "reader" and not 0 < _number(settings.get("max_execution_time", "1")) <= _READER_SECONDS:
        text = f"Setting max_execution_time shouldn't be greater than {_READER_SECONDS:g}"
        raise EngineError(452, f"Code: 452. DB::Exception: {text}. (SETTING_CONSTRAINT_VIOLATION)")
    return EngineRequest(
        database=_parameter(request, "database", "X-ClickHouse-Database") or "default",
        settings=settings,
        parameters={name[6:]: value for name, value in request.query_params.items() if name.startswith("param_")},
        read_only=user == "reader" or request.method != "POST",
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _user(request: Request) -> str:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials).decode().partition(":")[0]
        except ValueError:
            return "reader"
    return _parameter(request, "user", "X-ClickHouse-User") or "default"


def _parameter(request: Request, name: str, header: str) -> str:
    return request.query_params.get(name) or request.headers.get(header, "")


def _foreign(request: Request) -> str | None:
    """Why a request that a web page made is not answered: any page a person visits could reach this port."""
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin") or "origin" in request.headers:
        return "requests from web pages are not answered\n"
    return None


def _headers(engine: Engine, request: Request) -> dict[str, str]:
    return {
        "X-ClickHouse-Server-Display-Name": engine.name,
        "X-ClickHouse-Query-Id": request.query_params.get("query_id") or str(uuid.uuid4()),
        "X-ClickHouse-Timezone": engine.timezone,
    }


def _answer(answer: Answer, format: str, headers: Mapping[str, str], request: Request) -> Response:
    summary = {
        "read_rows": answer.read_rows,
        "read_bytes": answer.read_bytes,
        "written_rows": answer.written_rows,
        "written_bytes": answer.written_bytes,
        "total_rows_to_read": 0,
        "result_rows": 0,
        "result_bytes": len(answer.body),
        "elapsed_ns": int(answer.elapsed * 1e9),
    }
    wanted = (
        request.headers.get("accept-encoding", "")
        if request.query_params.get("enable_http_compression") in ("1", "true")
        else ""
    )
    body, used = encoding.compressed(answer.body, wanted)
    return Response(
        body,
        headers={
            **headers,
            **({"Content-Encoding": used} if used else {}),
            "Content-Type": _CONTENT_TYPES.get(format, "text/plain; charset=UTF-8"),
            "X-ClickHouse-Format": format,
            "X-ClickHouse-Summary": json.dumps(
                {name: str(value) for name, value in summary.items()}, separators=(",", ":")
            ),
        },
    )


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
