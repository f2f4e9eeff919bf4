"""The topics: what flows where, in which schema, under which broker settings, with examples.

Each is a file `topics/<topic>.yaml`; messages as JSON data are in `examples/<topic>/<name>.json`.
"""

import base64
import json
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import msgspec

from spanloom_schemas import codec


class Topic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One topic as its YAML file has it."""

    name: str
    schema: str
    """Name of the Avro schema of its values."""
    description: str
    partitions: int
    retention_ms: int
    """-1: for ever (a compacted topic keeps the last record of each key)."""
    cleanup: Literal["delete", "compact"]
    timestamp_type: Literal["LogAppendTime", "CreateTime"]
    key: str
    """What the message's key is, in words."""
    max_message_bytes: int
    producers: list[str]
    consumers: list[str]

    def config(self) -> dict[str, str]:
        """The topic's settings by the broker's names."""
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "message.timestamp.type": self.timestamp_type,
            "max.message.bytes": str(self.max_message_bytes),
        }


@cache
def load() -> dict[str, Topic]:
    """All topics by name. Raises msgspec.ValidationError for a file that is not a Topic."""
    folder = files("spanloom_schemas") / "topics"
    read = [msgspec.yaml.decode(file.read_bytes(), type=Topic) for file in folder.iterdir()]
    return {topic.name: topic for topic in sorted(read, key=lambda topic: topic.name)}


def examples(topic: str) -> list[dict[str, Any]]:
    """Data of every example message of a topic, ready for `codec.encode`; each call gives fresh copies."""
    folder = files("spanloom_schemas") / "examples" / topic
    found = sorted(folder.iterdir(), key=lambda file: file.name) if folder.is_dir() else []
    schema = codec.newest(load()[topic].schema).source
    data = [datum for file in found for datum in json.loads(file.read_text("utf-8"))]
    return [_with_bytes(datum, schema) for datum in data]


def _with_bytes(datum: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """JSON has no bytes: a top-level field of that type is written in base64."""
    binary = {field["name"] for field in schema["fields"] if "bytes" in field["type"]}
    return {k: base64.b64decode(v) if k in binary and v is not None else v for k, v in datum.items()}
