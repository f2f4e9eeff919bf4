"""What a RAG service asks of its stores (SQL, cache, vectors), by real clients under real instrumentations."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("chromadb", reason="make test-compat installs the clients of stores")

import chromadb
import redis
import spanloom
import sqlalchemy
from fakeredis import TcpFakeServer
from spanloom.testing import recording

SECRET = "ann@example.org"


@pytest.fixture(scope="module")
def cache() -> Iterator[redis.Redis]:
    """Yield a client of a server that speaks Redis's protocol."""
    server = TcpFakeServer(("127.0.0.1", 0))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = redis.Redis("127.0.0.1", server.server_address[1])
    yield client
    client.close()
    server.shutdown()


def of_system(spans: list[dict[str, Any]], system: str) -> list[dict[str, Any]]:
    return [span for span in spans if {"key": "db.system", "value": system} in span["attributes"]]


def test_what_is_asked_of_the_stores_stands_below_the_request_and_no_value_leaves(cache: redis.Redis) -> None:
    with recording() as recorded:
        assert {"chromadb", "redis", "sqlalchemy"} <= set(spanloom.instrument())
        with spanloom.span("answer", event_type="request"):
            cache.set(f"user:{SECRET}", SECRET)
            cache.get(f"user:{SECRET}")
            with sqlalchemy.create_engine("sqlite://").connect() as database:
                database.execute(sqlalchemy.text("CREATE TABLE people (mail TEXT)"))
                database.execute(sqlalchemy.text("SELECT * FROM people WHERE mail = :mail"), {"mail": SECRET})
                database.execute(sqlalchemy.text(f"SELECT * FROM people WHERE mail = '{SECRET}'"))
                with pytest.raises(sqlalchemy.exc.OperationalError):
                    database.execute(sqlalchemy.text("SELECT * FROM nobody"))
            documents = chromadb.EphemeralClient().create_collection("documents", embedding_function=None)
            documents.add(ids=["a", "b", "c"], embeddings=[[1, 0], [0, 1], [0.7, 0.7]], documents=[SECRET, "b", "c"])
            documents.query(query_embeddings=[[1, 0.1]], n_results=2)
    spans = recorded.spans
    request = recorded.named("answer")
    assert {span["trace_id"] for span in spans} == {request["trace_id"]}
    assert SECRET not in repr(spans)

    assert [span["name"] for span in of_system(spans, "redis")] == ["SET", "GET"]
    statements = of_system(spans, "sqlite")
    assert [span["name"] for span in statements] == ["connect", "CREATE", "SELECT", "SELECT", "SELECT"]
    assert [span["status"] for span in statements] == ["unset", "unset", "unset", "unset", "error"]
    added, asked = of_system(spans, "chroma")
    assert (added["name"], added["kind"]) == ("chroma.add", "other")
    assert (asked["name"], asked["kind"], asked["retrieval"]["k"]) == ("chroma.query", "retrieval", 2)
    assert [document["id"] for document in asked["retrieval"]["documents"]] == ["a", "c"]


def test_a_service_that_turns_everything_on_ends_when_it_is_told_to() -> None:
    program = "import spanloom, chromadb, redis, sqlalchemy; spanloom.instrument(); print('over')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "over\n")
