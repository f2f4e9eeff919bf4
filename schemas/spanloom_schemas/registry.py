"""A Confluent-compatible schema registry, asked for ids only.

What the registry serves is compared with the pinned schemas and never used: a schema from outside cannot decide how
bytes are read.
"""

import base64
import json
import threading
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

from fastavro.schema import to_parsing_canonical_form

from spanloom_schemas import codec, topics
from spanloom_schemas.codec import Pinned
from spanloom_schemas.settings import KafkaSettings

TIMEOUT_S = 5.0
MAX_BYTES = 1024 * 1024
_DEEPEST = 64
_TYPE = "application/vnd.schemaregistry.v1+json"


class RegistryError(OSError):
    """The registry cannot be reached or does not make sense; nothing is known about the message, so try again later."""


class HttpRegistry:
    """The ids of the pinned schemas, asked for once each and remembered; an unknown id is remembered as well."""

    def __init__(self, url: str, user: str = "", password: str = "", timeout: float = TIMEOUT_S) -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._headers = {"Accept": _TYPE, "Content-Type": _TYPE}
        if user:
            self._headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self._pinned: dict[int, Pinned | None] = {}
        self._ids: dict[Pinned, int] = {}
        self._lock = threading.Lock()

    def pinned(self, schema_id: int) -> Pinned | None:
        """The pinned schema of an id, by canonical form; None when the id is of no pinned schema, or of none at all."""
        with self._lock:
            if schema_id not in self._pinned:
                if len(self._pinned) >= 10_000:  # ids come from messages: anyone can make them up
                    self._pinned.clear()
                self._pinned[schema_id] = self._fetch(schema_id)
            return self._pinned[schema_id]

    def schema_id(self, schema: Pinned) -> int:
        """The id of a pinned schema, registered under `<topic>-value`, which changes nothing where it already is."""
        with self._lock:
            if schema not in self._ids:
                topic = next(topic.name for topic in topics.load().values() if topic.schema == schema.name)
                body = json.dumps({"schema": json.dumps(schema.source)}).encode()
                answer = self._ask(f"/subjects/{quote(topic, safe='')}-value/versions", body)
                if answer is None or not isinstance(answer.get("id"), int):
                    raise RegistryError(f"the schema registry {self._url} gave no id for {schema.name}")
                self._ids[schema] = answer["id"]
            return self._ids[schema]

    def _fetch(self, schema_id: int) -> Pinned | None:
        answer = self._ask(f"/schemas/ids/{schema_id}")
        if answer is None or answer.get("schemaType", "AVRO") != "AVRO":
            return None
        canonical = _canonical(answer.get("schema"))
        return next((schema for schema in codec.schemas() if schema.canonical == canonical), None)

    def _ask(self, path: str, body: bytes | None = None) -> dict[str, Any] | None:
        """The answer, None for "not found"."""
        request = urllib.request.Request(self._url + path, data=body, headers=self._headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:
                answer = json.loads(response.read(MAX_BYTES))
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise RegistryError(f"the schema registry {self._url}{path} answers {error.code} {error.reason}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise RegistryError(f"the schema registry {self._url} does not answer as one: {error}") from None
        if not isinstance(answer, dict):
            raise RegistryError(f"the schema registry {self._url} does not answer as one")
        return answer


def of(settings: KafkaSettings, timeout: float = TIMEOUT_S) -> HttpRegistry | None:
    """The registry that the settings name, waited for so many seconds; None: single-object framing."""
    if not settings.schema_registry_url:
        return None
    password = settings.schema_registry_password.reveal()
    return HttpRegistry(settings.schema_registry_url, settings.schema_registry_user, password, timeout)


def _canonical(schema: object) -> str | None:
    """Parsing canonical form of a schema's text; None where it is none, or deeper than any of ours."""
    if not isinstance(schema, str):
        return None
    try:
        parsed = json.loads(schema)
        return to_parsing_canonical_form(parsed) if _depth(parsed) <= _DEEPEST else None
    except Exception:  # fastavro raises whatever the wrong schema happens to raise; it is not ours then
        return None


def _depth(value: Any) -> int:
    """How deeply lists and objects are nested, found level by level: no recursion."""
    level, depth = [value], 0
    while level and depth <= _DEEPEST:
        level = [
            part
            for each in level
            if isinstance(each, list | dict)
            for part in (each.values() if isinstance(each, dict) else each)
        ]
        depth += 1
    return depth
