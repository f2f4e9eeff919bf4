import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_stub.tokens import count
from rag_service import citations, corpus, prompt, questions, retrieval, safety
from rag_service.corpus import Document
from rag_service.retrieval import Hit

HITS = [
    Hit("json.dumps", "Serialize obj to a JSON formatted str.", 3.0),
    Hit("json.dump", "Serialize obj to a file.", 2.0),
]


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return corpus.load()


def test_the_corpus_is_the_documentation_of_the_standard_library(documents):
    texts = {document.id: document.text for document in documents}
    assert len(documents) == len(texts) > 2000
    assert texts["json.dumps"].startswith("Serialize ``obj`` to a JSON formatted ``str``.")


def test_every_question_has_its_answer_in_the_corpus(documents):
    known = {document.id for document in documents}
    assert {question.expected for question in questions.QUESTIONS} <= known


def test_most_questions_find_the_document_that_answers_them_and_rank_it_high(documents):
    index = retrieval.build_index(documents)
    hit, precision = 0.0, 0.0
    for question in questions.QUESTIONS:
        found = retrieval.search(index, question.text, 12)
        hit += retrieval.hit_at_k(question.expected, found)
        precision += retrieval.context_precision(question.expected, retrieval.rerank(question.text, found, 4))
    assert hit / len(questions.QUESTIONS) > 0.8
    assert 0.6 < precision / len(questions.QUESTIONS) < 1


@given(st.text(max_size=60))
def test_no_question_breaks_the_search(question):
    index = retrieval.build_index([Document("json.dumps", "Serialize obj")])
    assert len(retrieval.search(index, question, 3)) <= 1


def test_context_precision_is_one_over_the_rank_of_the_answer():
    assert retrieval.context_precision("json.dump", HITS) == 0.5
    assert retrieval.context_precision("json.load", HITS) == 0
    assert (retrieval.hit_at_k("json.dump", HITS), retrieval.hit_at_k("json.load", HITS)) == (1, 0)


@pytest.mark.parametrize("text", questions.HOSTILE)
def test_a_hostile_question_is_blocked(text):
    assert safety.check(text) in ("prompt_injection", "payment_card", "malware")


def test_no_honest_question_is_blocked():
    assert [question.text for question in questions.QUESTIONS if safety.check(question.text)] == []


@pytest.mark.parametrize(("number", "card"), [("4242 4242 4242 4242", True), ("4242 4242 4242 4243", False)])
def test_a_number_is_a_card_only_with_its_check_digit(number, card):
    assert (safety.check(f"charge {number} now") == "payment_card") is card


def test_the_segments_of_a_prompt_are_counted_as_they_were_built():
    built = prompt.build("How?", HITS, "1")
    assert built.tokens["user"] == count("How?")
    assert built.tokens["context"] == count(
        "[1] json.dumps\n" + HITS[0].text + "\n[2] json.dump\n" + HITS[1].text + "\n"
    )
    assert not built.context_truncated


def test_a_context_over_the_budget_is_cut_and_said_to_be():
    built = prompt.build("How?", [Hit(str(n), "word " * 900, 1.0) for n in range(12)], "2")
    assert built.context_truncated
    assert built.tokens["context"] == prompt.CONTEXT_BUDGET


def test_version_2_of_the_prompt_sends_about_three_times_the_tokens(documents):
    index = retrieval.build_index(documents)
    sums = {}
    for version, keep in prompt.SOURCES.items():
        found = [(q.text, retrieval.search(index, q.text, 12)) for q in questions.QUESTIONS]
        built = [prompt.build(text, retrieval.rerank(text, hits, keep), version) for text, hits in found]
        sums[version] = sum(sum(one.tokens.values()) for one in built)
    assert 2.5 < sums["2"] / sums["1"] < 5


def test_only_sources_that_exist_are_cited_each_once():
    assert citations.cited("It does [2]. Yes [2], [7].", HITS) == [HITS[1]]
