import pytest
from hypothesis import given
from hypothesis import strategies as st
from spanloom_stack import sql


@pytest.mark.parametrize(
    ("text", "statement", "format", "data"),
    [
        (b"INSERT INTO t FORMAT Native\n\x00\x01", "INSERT INTO t ", "Native", b"\x00\x01"),
        (b"insert into t (a, format) format JSONEachRow {}", "insert into t (a, format) ", "JSONEachRow", b"{}"),
        (b"INSERT INTO t VALUES (1), (2)", "INSERT INTO t ", "Values", b" (1), (2)"),
        (b"INSERT INTO `VALUES` VALUES (1)", "INSERT INTO `VALUES` ", "Values", b" (1)"),
        (
            b"-- SELECT\nINSERT INTO t SETTINGS a='FORMAT x' FORMAT CSV\r\n1",
            "-- SELECT\nINSERT INTO t ",
            "CSV",
            b"1",
        ),
        (b"INSERT INTO t FORMAT ArrowStream", "INSERT INTO t ", "ArrowStream", b""),
    ],
)
def test_the_data_of_an_insert_begins_after_its_format(text: bytes, statement: str, format: str, data: bytes) -> None:
    found = sql.insert(text)
    assert found is not None
    assert (found.statement, found.format, text[found.data :]) == (statement, format, data)


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT 1 FORMAT Native",
        b"INSERT INTO t SELECT 1 FORMAT Native",
        b"INSERT INTO t WITH 1 AS x SELECT x",
        b"INSERT INTO t FROM INFILE 'x' FORMAT CSV",
        b"CREATE TABLE t (a Int8) ENGINE = Memory",
        b"",
    ],
)
def test_other_statements_carry_no_data(text: bytes) -> None:
    assert sql.insert(text) is None


@pytest.mark.parametrize(
    ("text", "statement"),
    [
        (b"INSERT INTO t (a) FORMAT CSV\n1", "INSERT INTO t (a)  FROM INFILE '/f' COMPRESSION 'none'  FORMAT CSV"),
        (
            b"INSERT INTO d.settings (a) SETTINGS b = 1 FORMAT CSV\n1",
            "INSERT INTO d.settings (a)  FROM INFILE '/f' COMPRESSION 'none' SETTINGS b = 1  FORMAT CSV",
        ),
    ],
)
def test_an_insert_with_data_becomes_one_of_a_file(text: bytes, statement: str) -> None:
    found = sql.insert(text)
    assert found is not None
    assert found.of_file("/f") == statement


@given(st.binary())
def test_whatever_follows_the_head_is_data_untouched(data: bytes) -> None:
    text = b"INSERT INTO t FORMAT RowBinary\n" + data
    found = sql.insert(text)
    assert found is not None
    assert text[found.data :] == data


FORBIDDEN = frozenset({"file", "url", "sqlite"})


@pytest.mark.parametrize(
    ("canonical", "reason"),
    [
        ("SELECT file('/etc/passwd')", "may not call file"),
        ("SELECT * FROM `file`('/etc/passwd', 'CSV')", "may not call `file`"),
        ("DESCRIBE TABLE FILE('x')", "may not call FILE"),
        ("SELECT 1 INTO OUTFILE 'x'", "may not write files"),
        ("SELECT 1 SETTINGS max_memory_usage = 0", "may not change settings"),
        ("DROP TABLE t", "may not run DROP"),
        ("SET readonly = 0", "may not run SET"),
        ("", "may not run this"),
    ],
)
def test_a_reader_is_refused_what_reaches_out(canonical: str, reason: str) -> None:
    assert reason in (sql.refusal(canonical, FORBIDDEN) or "")


@pytest.mark.parametrize(
    "canonical",
    [
        "SELECT name FROM system.settings LIMIT 1 FORMAT Native",
        "SELECT 'file(' AS url, file FROM t WHERE file IN ('x')",
        "WITH numbers(3) AS x SELECT count() FROM merge('spans')",
        "EXPLAIN SELECT 1",
        "SHOW TABLES",
    ],
)
def test_a_reader_may_look_at_everything_stored(canonical: str) -> None:
    assert sql.refusal(canonical, FORBIDDEN) is None


@pytest.mark.parametrize(
    ("query", "format"),
    [
        ("SELECT 1", "TabSeparated"),
        ("SELECT 1 FORMAT JSON", "JSON"),
        ("SELECT 1\nformat Native ;\n", "Native"),
        ("SELECT 1 FORMAT CSV SETTINGS max_threads = 1", "CSV"),
    ],
)
def test_the_answers_format_is_the_querys_or_the_default(query: str, format: str) -> None:
    assert sql.output_format(query, "TabSeparated") == format
