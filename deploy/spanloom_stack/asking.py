"""What an HTTP request asks of the engine, and in whose name, as ClickHouse reads it. No I/O."""

import base64
from email.parser import BytesParser

from starlette.requests import Request

from spanloom_stack.engine import EngineError
from spanloom_stack.engine import Request as EngineRequest

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


def asked(request: Request) -> EngineRequest:
    """Whose request it is, with what settings and parameters. Raises EngineError for a setting that is not theirs."""
    reader = _user(request) == "reader"
    given = request.query_params.items()
    settings = {name: value for name, value in given if name not in _OWN and not name.startswith("param_")}
    if reader:
        _refuse(settings)
    return EngineRequest(
        database=_parameter(request, "database", "X-ClickHouse-Database") or "default",
        settings=settings,
        parameters={name.removeprefix("param_"): value for name, value in given if name.startswith("param_")},
        read_only=reader or request.method != "POST",
    )


def is_form(request: Request) -> bool:
    """Whether statement and parameters come as fields of a form: clients do so when they are long."""
    return request.headers.get("content-type", "").startswith("multipart/form-data")


def form(request: Request, body: bytes) -> tuple[str, dict[str, str]]:
    """The statement and the parameters in a form. Raises EngineError for external tables, which it may bring too."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    fields: dict[str, str] = {}
    for part in BytesParser().parsebytes(head + body).walk():
        name = part.get_param("name", header="content-disposition")
        if isinstance(name, str) and part.get_filename() is None:
            content = part.get_payload(decode=True)
            fields[name] = content.decode() if isinstance(content, bytes) else ""
        elif not part.is_multipart():
            raise error(48, "external tables are not served here", "NOT_IMPLEMENTED")
    statement = fields.get("query", request.query_params.get("query", ""))
    return statement, {
        name.removeprefix("param_"): value for name, value in fields.items() if name.startswith("param_")
    }


def default_format(request: Request) -> str:
    """The format of an answer to a statement that names none."""
    return _parameter(request, "default_format", "X-ClickHouse-Format") or "TabSeparated"


def foreign(request: Request) -> str | None:
    """Why a request that a web page made is not answered: any page a person visits could reach this port."""
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin") or "origin" in request.headers:
        return "requests from web pages are not answered\n"
    return None


def error(code: int, text: str, name: str) -> EngineError:
    """An error as the engine would word it."""
    return EngineError(code, f"Code: {code}. DB::Exception: {text}. ({name})")


def _refuse(settings: dict[str, str]) -> None:
    for name in settings.keys() - READER_SETTINGS:
        raise error(164, f"Cannot modify '{name}' setting in readonly mode", "READONLY")
    if not 0 < _number(settings.get("max_execution_time", "1")) <= _READER_SECONDS:
        text = f"Setting max_execution_time shouldn't be greater than {_READER_SECONDS:g}"
        raise error(452, text, "SETTING_CONSTRAINT_VIOLATION")


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
