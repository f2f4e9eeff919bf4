"""Confluent framing in the producer: the registry is asked by the sender alone, and spans wait for it."""

from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from spanloom import sender as module
from spanloom.asgi import TraceMiddleware
from spanloom.buffer import Buffer
from spanloom.origin import origin, program
from spanloom.sender import Sender
from spanloom.settings import ProducerSettings
from spanloom.trace import Trace
from spanloom_schemas import codec, registry
from spanloom_schemas.codec import Pinned
from spanloom_schemas.registry import RegistryError


class Registry:
    """Fails as often as told, then gives one id."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def schema_id(self, schema: Pinned) -> int:
        if self.failures:
            self.failures -= 1
            raise RegistryError("the schema registry is away")
        return 258

    def pinned(self, schema_id: int) -> Pinned | None:
        return codec.newest("span_batch") if schema_id == 258 else None


class Broker:
    def __init__(self) -> None:
        self.values: list[bytes] = []
        self._tell: list[Any] = []

    def list_topics(self, topic: str, timeout: float) -> Any:
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions={0: None})})

    def produce(self, topic: str, value: bytes, partition: int, on_delivery: Any) -> None:
        self.values.append(value)
        self._tell.append(on_delivery)

    def poll(self, timeout: float) -> None:
        told, self._tell = self._tell, []
        for tell in told:
            tell(None, None)

    flush = poll


def test_spans_wait_while_the_registry_is_away_and_carry_its_id_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, broker = Registry(failures=2), Broker()
    monkeypatch.setattr(registry, "of", lambda settings, timeout: own)
    settings = ProducerSettings(schema_registry_url="http://127.0.0.1:9")
    buffer = Buffer(settings.buffer_bytes)
    buffer.put((Trace("1" * 32, 1, "", {}), 1, None, False, "x", "other", 0, 1, {}, None, None, 0), 500)
    monkeypatch.setattr(module, "LINGER", 0.005)
    sender = Sender(buffer, settings, 9, lambda _: broker)  # type: ignore[arg-type, return-value]
    Thread(target=sender.run, daemon=True).start()
    assert sender.flush(10)
    assert sender.shutdown(5)
    assert {value[:5] for value in broker.values} == {b"\0\0\0\1\2"}
    assert sum(len(codec.decode(value, own)[2]["spans"]) for value in broker.values) == 1


def test_a_program_run_by_its_module_is_named_by_the_package() -> None:
    assert program([str(Path("site-packages") / "uvicorn" / "__main__.py")]) == "uvicorn"
    assert program(["/srv/chat.py", "x"]) == "chat.py"
    assert program([""]) == "python"
    assert origin(ProducerSettings(service="chat", host="vm"), 1).producer == "vm:chat"


@pytest.mark.anyio
async def test_the_end_of_the_lifespan_flushes_after_the_applications_own(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("spanloom.process.flush", lambda timeout: said.append("flush"))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.complete"})
        said.append("closed")
        await send({"type": "lifespan.shutdown.complete"})

    async def send(event: Any) -> None:
        said.append(event["type"])

    await TraceMiddleware(app)({"type": "lifespan"}, None, send)  # type: ignore[arg-type]
    assert said == ["lifespan.startup.complete", "closed", "flush", "lifespan.shutdown.complete"]
