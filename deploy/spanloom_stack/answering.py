"""The engine's answers and errors as responses of ClickHouse's HTTP interface. No I/O."""

import json
import uuid
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from spanloom_stack import encoding, native
from spanloom_stack.engine import Answer, Engine, EngineError

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


def headers(engine: Engine, request: Request) -> dict[str, str]:
    """What every response says of the server."""
    return {
        "X-ClickHouse-Server-Display-Name": engine.name,
        "X-ClickHouse-Query-Id": request.query_params.get("query_id") or str(uuid.uuid4()),
        "X-ClickHouse-Timezone": engine.timezone,
    }


def answered(answer: Answer, format: str, headers: Mapping[str, str], request: Request) -> Response:
    """The response to a statement that succeeded. Raises native.Unsupported."""
    body = answer.body
    if format == "Native" and _revision(request) >= native.CUSTOM_SERIALIZATION:
        body = native.reframed(body)
    body, used = encoding.compressed(body, _accepted(request))
    said = {
        "Content-Type": _CONTENT_TYPES.get(format, "text/plain; charset=UTF-8"),
        "X-ClickHouse-Format": format,
        "X-ClickHouse-Summary": _summary(answer),
    }
    return Response(body, headers={**headers, **said, **({"Content-Encoding": used} if used else {})})


def failed(error: EngineError, version: str, headers: Mapping[str, str]) -> Response:
    """The response to a statement that failed, as ClickHouse words it."""
    text = str(error) if "(version " in str(error) else f"{error} (version {version})"
    said = {"X-ClickHouse-Exception-Code": str(error.code)}
    return PlainTextResponse(f"{text}\n", _STATUS.get(error.code, 500), {**headers, **said})


def _summary(answer: Answer) -> str:
    counts = {
        "read_rows": answer.read_rows,
        "read_bytes": answer.read_bytes,
        "written_rows": answer.written_rows,
        "written_bytes": answer.written_bytes,
        "result_bytes": len(answer.body),
        "elapsed_ns": int(answer.elapsed * 1e9),
    }
    return json.dumps({name: str(count) for name, count in counts.items()}, separators=(",", ":"))


def _accepted(request: Request) -> str:
    """The encodings a client takes, which ClickHouse heeds only where it is told to."""
    wanted = request.query_params.get("enable_http_compression") in ("1", "true")
    return request.headers.get("accept-encoding", "") if wanted else ""


def _revision(request: Request) -> int:
    revision = request.query_params.get("client_protocol_version", "0")
    return int(revision) if revision.isdecimal() else 0
