import pytest
from hypothesis import given
from hypothesis import strategies as st
from spanloom.otel.statements import masked


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SELECT * FROM t1 WHERE a = 'ann' AND b=42", "SELECT * FROM t1 WHERE a = ? AND b=?"),
        ("SELECT a FROM b WHERE c IN ('x', 'it''s', -1.5, 0xFF)", "SELECT a FROM b WHERE c IN (?, ?, ?, ?)"),
        ("SELECT a FROM b WHERE c = $1 AND d = :2 AND e = %s AND f = ?", None),
        ("GET ?", None),
        ("SELECT $$ann's$$, $tag$ann$$ann$tag$ -- of ann\nFROM b /* ann */", "SELECT ?, ? ?\nFROM b ?"),
        ("SELECT a FROM b WHERE c = 'ann is cut", "SELECT a FROM b WHERE c = ?"),
        ('{"find": "people", "filter": {"age": 42}}', "{?: ?, ?: {?: ?}}"),
        ("SELECT 7, 'C:\\', 'ann'", "SELECT ?, ?"),
        ("SELECT 'it\\'s ann'", "SELECT ?"),
    ],
)
def test_a_statement_keeps_its_shape_and_loses_its_literals(statement: str, said: str | None) -> None:
    assert masked(statement) == (statement if said is None else said)


@given(st.lists(st.text(max_size=20)))
def test_no_text_is_seen_whatever_is_in_it(texts: list[str]) -> None:
    literals = [f"'{text.replace(chr(39), 2 * chr(39))}'" for text in texts]
    said = masked(f"INSERT INTO b VALUES ({','.join(literals)})")
    assert set(said.removeprefix("INSERT INTO b VALUES ")) <= set("(?,)")


@given(st.text(alphabet="'\"$-*/\\ a1\n", max_size=200))
def test_what_is_no_statement_is_masked_without_trouble(text: str) -> None:
    assert len(masked(text)) <= len(text) + 1
