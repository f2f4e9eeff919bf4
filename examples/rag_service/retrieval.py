"""Retrieval: SQLite's full-text index (FTS5), ranked by BM25; then a rerank by how much of the question is covered."""

import math
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from rag_service.corpus import Document

K = 12
"""Documents that an agent asks for."""

_WORD = re.compile(r"[a-z]{2,}|\d+")
_STOP = frozenset(
    word
    for line in (
        "a an and are as at be by can do does for from get how i if in into is it its me my of on one or should that",
        "the there this to use using way what when where which who why will with you python function module",
    )
    for word in line.split()
)


@dataclass(frozen=True)
class Hit:
    """A document found for a question; a higher score is a better one."""

    id: str
    text: str
    score: float


def words(text: str) -> list[str]:
    """The words worth searching for, in lower case and without stop words."""
    return [word for word in _WORD.findall(text.lower()) if word not in _STOP]


def build_index(documents: Sequence[Document]) -> sqlite3.Connection:
    """An in-memory full-text index."""
    index = sqlite3.connect(":memory:", check_same_thread=False)
    index.execute("CREATE VIRTUAL TABLE documents USING fts5(id, body, tokenize = 'porter unicode61')")
    rows = ((document.id, document.text) for document in documents)
    index.executemany("INSERT INTO documents VALUES (?, ?)", rows)
    return index


def search(index: sqlite3.Connection, question: str, k: int) -> list[Hit]:
    """The `k` documents with the best BM25 score; a word in the name counts four times."""
    query = " OR ".join(f'"{word}"' for word in dict.fromkeys(words(question)))
    if not query:
        return []
    found = index.execute(
        "SELECT id, body, -bm25(documents, 4.0, 1.0) AS score FROM documents WHERE documents MATCH ? "
        "ORDER BY score DESC, id LIMIT ?",
        (query, k),
    )
    return [Hit(*row) for row in found]


def rerank(question: str, hits: Sequence[Hit], keep: int) -> list[Hit]:
    """The `keep` best of `hits` by the words of the question they hold: rare words and early ones weigh more."""
    asked = set(words(question))
    texts = [(hit, words(hit.id) + words(hit.text)) for hit in hits]
    weight = {word: math.log(1 + len(hits) / (1 + sum(word in text for _, text in texts))) for word in asked}
    scored = [
        Hit(hit.id, hit.text, round(sum(weight[word] / (1 + text.index(word) / 40) for word in asked & set(text)), 6))
        for hit, text in texts
    ]
    return sorted(scored, key=lambda hit: (-hit.score, hit.id))[:keep]


def hit_at_k(expected: str, hits: Sequence[Hit]) -> float:
    """1 when the document that answers the question was found, else 0."""
    return float(any(hit.id == expected for hit in hits))


def context_precision(expected: str, hits: Sequence[Hit]) -> float:
    """Mean precision at the ranks of relevant documents; with a single one: 1 / its rank, or 0 when it is missing."""
    ranks = [rank for rank, hit in enumerate(hits, 1) if hit.id == expected]
    return 1 / ranks[0] if ranks else 0.0
