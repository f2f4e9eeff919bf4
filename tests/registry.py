"""A double of a schema registry: the two calls of it that are used, with what was asked."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_FIRST = 100
"""The id of the first schema that is registered by a call."""


class Double(ThreadingHTTPServer):
    """`schemas` by their ids; `away`: it answers that it cannot."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.schemas: dict[int, str] = {}
        self.asked: list[str] = []
        self.authorization: str | None = None
        self.away = False


class Handler(BaseHTTPRequestHandler):
    server: Double

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.authorization = self.headers["Authorization"]
        schema = self.server.schemas.get(int(self.path.rpartition("/")[2]))
        self._answer(404 if schema is None else 200, {"schema": schema} if schema else {"error_code": 40403})

    def do_POST(self) -> None:
        self.server.asked.append(self.path)
        schema = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["schema"]
        known = {text: number for number, text in self.server.schemas.items()}
        number = known.get(schema, _FIRST + len(known))
        self.server.schemas[number] = schema
        self._answer(200, {"id": number})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        self.send_response(503 if self.server.away else status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def running() -> Iterator[Double]:
    """A registry that knows nothing yet."""
    with Double() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
