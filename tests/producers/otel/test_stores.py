"""Vector stores, as OpenLLMetry's instrumentations tell of them."""

import json
from typing import Any

import pytest

from tests.producers.otel.test_mapping import START, kept, ours

TEXT = "a text that somebody wrote"


@pytest.mark.parametrize(
    ("name", "attributes", "kind"),
    [
        ("chroma.query", {"db.system": "chroma", "db.operation": "query"}, "retrieval"),
        ("chroma.query.segment._query", {"db.system": "chroma", "db.operation": "_query"}, "other"),  # within the first
        ("chroma.upsert", {"db.system": "chroma", "db.operation": "upsert"}, "other"),
        ("milvus.hybrid_search", {"db.system": "milvus", "db.operation": "hybrid_search"}, "retrieval"),
        ("milvus.create_collection", {"db.system": "milvus", "db.operation": "create_collection"}, "other"),
        ("lancedb.search", {"db.system": "lancedb", "db.operation": "search"}, "retrieval"),
        ("marqo.add_documents", {"db.system": "marqo", "db.operation": "add_documents"}, "other"),
        ("db.weaviate.collections.get", {"db.system": "weaviate", "db.operation": "get"}, "other"),  # a collection
        ("fetch", {"db.system": "weaviate", "db.operation": "fetch_objects"}, "retrieval"),
        ("pinecone.query", {"db.system": "Pinecone"}, "retrieval"),
        ("pinecone.upsert", {"db.system": "Pinecone"}, "other"),
        ("qdrant.query_points", {"db.system": "Qdrant"}, "retrieval"),
        ("qdrant.upload_points", {"db.system": "Qdrant"}, "other"),
        ("query docs", {"db.system.name": "qdrant", "db.operation.name": "query"}, "retrieval"),
        ("query", {"db.system": "postgresql", "db.operation": "query"}, "other"),
    ],
)
def test_what_reads_a_vector_store_is_retrieval_and_what_writes_is_not(
    name: str, attributes: dict[str, Any], kind: str
) -> None:
    assert ours(attributes, name=name, kind="client")["kind"] == kind


@pytest.mark.parametrize(
    "asked", ["db.vector.query.top_k", "pinecone.query.top_k", "db.chroma.query.n_results", "db.milvus.search.limit"]
)
def test_how_many_were_asked_for_is_told(asked: str) -> None:
    assert ours({"db.system": "Pinecone", asked: 7}, name="pinecone.query")["retrieval"]["k"] == 7


def test_documents_that_were_found_keep_id_and_score_and_nothing_else() -> None:
    marqo = {"_id": "d1", "_score": 0.9, "Title": TEXT, "_highlights": {"Title": TEXT}}
    milvus = {"db.search.result.id": 7, "db.search.result.distance": "0.25", "db.search.result.entity": TEXT}
    chroma = {"db.query.result.id": "v", "db.query.result.document": TEXT, "db.query.result.vector": [0.1, 0.2]}
    events = [
        ("db.query.result", START, marqo),
        ("db.search.result", START, milvus),
        ("db.query.result", START, chroma),
    ]
    span = ours({"db.system": "marqo", "db.operation": "search"}, events=events)
    found = [(one["id"], one["score"]) for one in span["retrieval"]["documents"]]
    assert found == [("d1", 0.9), ("7", 0.25), ("v", None)]
    assert TEXT not in json.dumps(span)
    assert {said["key"] for event in span["events"] for said in event["attributes"]} == {
        *("_id", "_score", "db.search.result.id", "db.search.result.distance", "db.query.result.id")
    }
    assert kept(span)["spanloom.withheld"] == "5"


@pytest.mark.parametrize(
    "name",
    [
        *("db.marqo.search.query", "db.milvus.search.filter", "db.chroma.query.where_document", "db.chroma.get.where"),
        *("db.weaviate.query.raw.gql_query", "db.weaviate.collections.batch.add_object.properties"),
        *("weaviate.data.crud_data.create.data_object", "weaviate.collections.data.insert.properties"),
        *("pinecone.query.queries", "pinecone.query.filter"),
    ],
)
def test_what_was_asked_of_a_store_or_written_to_it_stays_here(name: str) -> None:
    span = ours({"db.system": "weaviate", name: TEXT})
    assert name not in kept(span)
    assert kept(span)["spanloom.withheld"] == "1"
    assert kept(ours({"db.chroma.query.n_results": 3, "db.collection.name": "docs"}))["db.collection.name"] == "docs"
