"""The HTTP interface, by the real client; with SPANLOOM_TEST_BACKEND=docker the same tests run on a real server."""

import gzip
import http.client
import io
import json
import os
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import clickhouse_connect
import lz4.frame
import polars as pl
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from spanloom_stack import services
from spanloom_stack.supervise import Supervisor

embedded = pytest.mark.skipif(
    os.environ.get("SPANLOOM_TEST_BACKEND") == "docker", reason="about the embedded engine's own rules"
)
ROWS = pl.DataFrame({"a": pl.Series([1, 2, 3], dtype=pl.UInt64), "b": ["x", "it's", "line\nend\t\\"]})


def connect(url: str, **options: str) -> Client:
    parts = urllib.parse.urlsplit(url)
    return clickhouse_connect.get_client(
        host=parts.hostname or "", port=parts.port or 0, autogenerate_session_id=False, **options
    )


@pytest.fixture
def client(clickhouse: str) -> Iterator[Client]:
    """A client of a database of its own, with one table `t`."""
    admin = connect(clickhouse)
    admin.command("CREATE DATABASE door")
    client = connect(clickhouse, database="door")
    client.command(
        "CREATE TABLE t (a UInt64, b String) ENGINE = MergeTree ORDER BY a "
        "SETTINGS non_replicated_deduplication_window = 100"
    )
    yield client
    client.close()
    admin.command("DROP DATABASE door")
    admin.close()


def stored(client: Client) -> list[tuple[int, str]]:
    return [(a, b) for a, b in client.query("SELECT a, b FROM t ORDER BY a").result_rows]


def arrow(rows: pl.DataFrame) -> bytes:
    stream = io.BytesIO()
    rows.write_ipc_stream(stream)
    return stream.getvalue()


def test_rows_inserted_by_the_client_come_back(client: Client) -> None:
    summary = client.insert("t", ROWS.rows(), column_names=["a", "b"])
    assert summary.written_rows == 3
    assert stored(client) == ROWS.rows()


def test_an_arrow_stream_is_inserted_as_it_is(client: Client) -> None:
    assert client.raw_insert("t", ["a", "b"], arrow(ROWS), fmt="ArrowStream").written_rows == 3
    assert stored(client) == ROWS.rows()


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "lz4"])
def test_compressed_bodies_are_taken(client: Client, encoding: str) -> None:
    from spanloom_stack.encoding import compressed

    body, used = compressed(arrow(ROWS), encoding)
    assert used == encoding
    client.raw_insert("t", ["a", "b"], body, fmt="ArrowStream", compression=encoding)
    assert stored(client) == ROWS.rows()


def test_frames_that_follow_one_another_are_one_body(client: Client) -> None:
    for compress, encoding in ((gzip.compress, "gzip"), (lz4.frame.compress, "lz4")):
        lines = [json.dumps({"a": number, "b": encoding}).encode() + b"\n" for number in (1, 2)]
        client.raw_insert("t", ["a", "b"], b"".join(map(compress, lines)), fmt="JSONEachRow", compression=encoding)
    assert len(stored(client)) == 4


def test_a_body_of_many_megabytes_is_streamed_into_one_block(client: Client) -> None:
    many = pl.DataFrame({"a": pl.int_range(400_000, dtype=pl.UInt64, eager=True), "b": ["x" * 40] * 400_000})
    token = {"insert_deduplication_token": "many", "async_insert": 0}
    for _ in range(2):
        client.raw_insert("t", ["a", "b"], arrow(many), fmt="ArrowStream", settings=token)
    assert client.query("SELECT count(), uniqExact(a) FROM t").first_row == (400_000, 400_000)


def test_a_deduplication_token_counts_once(client: Client) -> None:
    for token, expected in (("1", 3), ("1", 3), ("2", 6)):
        settings = {"insert_deduplication_token": token, "async_insert": 0}
        client.raw_insert("t", ["a", "b"], arrow(ROWS), fmt="ArrowStream", settings=settings)
        assert len(stored(client)) == expected


def test_parameters_too_long_for_a_url_come_as_a_form(client: Client) -> None:
    many = [f"{number:032x}" for number in range(3_000)]
    hostile = "'; DROP TABLE t; --\t\\N\r\n--x\r\n"
    asked = "SELECT length({many:Array(String)}), {many:Array(String)}[-1], {x:String}"
    answer = client.query(asked, parameters={"many": many, "x": hostile}).first_row
    assert answer == (len(many), many[-1], hostile)


@embedded
def test_a_form_of_anything_else_is_refused(client: Client, clickhouse: str) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="t"; filename="t"\r\n\r\n1\r\n--b--\r\n'
    request = urllib.request.Request(clickhouse, body, {"Content-Type": "multipart/form-data; boundary=b"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert b"only query and param_" in refused.value.read()


def test_parameters_are_values_never_sql(client: Client) -> None:
    hostile = "'; DROP TABLE t; --\t\\N\n"
    assert client.query("SELECT {x:String}, {y:Array(UInt8)}", parameters={"x": hostile, "y": [1, 2]}).first_row == (
        hostile,
        [1, 2],
    )
    client.command("INSERT INTO t (a, b) VALUES (7, {x:String})", parameters={"x": hostile})
    assert stored(client) == [(7, hostile)]


def test_parameters_too_long_for_an_address_come_as_a_form(client: Client, clickhouse: str) -> None:
    ids = [f"{number:032x}'\\é" for number in range(5_000)]
    assert client.query("SELECT length({ids:Array(String)}), {ids:Array(String)}[5000]", {"ids": ids}).result_rows == [
        (5_000, ids[-1])
    ]


@embedded
def test_a_reader_is_judged_in_a_form_too(client: Client, clickhouse: str) -> None:
    ids = ["x" * 100_000]
    with pytest.raises(DatabaseError, match="may not run INSERT"):
        connect(clickhouse, username="reader").raw_query("INSERT INTO t SELECT {ids:Array(String)}", {"ids": ids})


def test_answers_come_in_the_format_asked_for(client: Client, clickhouse: str) -> None:
    client.insert("t", ROWS.rows(), column_names=["a", "b"])
    table = client.query_arrow("SELECT a, b FROM t ORDER BY a")
    assert table.column("a").to_pylist() == [1, 2, 3]
    answer = urllib.request.urlopen(f"{clickhouse}/?default_format=JSONCompact", b"SELECT 1 AS one")
    assert json.load(answer)["data"] == [[1]]
    assert answer.headers["X-ClickHouse-Format"] == "JSONCompact"


def test_an_error_has_clickhouses_code_and_text(client: Client, clickhouse: str) -> None:
    with pytest.raises(DatabaseError, match=r"Code: 60\. DB::Exception: .*UNKNOWN_TABLE"):
        client.query("SELECT * FROM nowhere")
    with pytest.raises(DatabaseError, match=r"CANNOT_PARSE_INPUT|CANNOT_PARSE_TEXT"):
        client.raw_insert("t", ["a", "b"], b'{"a": "no number"}', fmt="JSONEachRow")
    assert stored(client) == []
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(clickhouse, b"SELEC 1")
    assert (caught.value.code, caught.value.headers["X-ClickHouse-Exception-Code"]) == (400, "62")


def test_settings_hold_for_one_request_only(client: Client) -> None:
    ask = "SELECT value FROM system.settings WHERE name = 'max_block_size'"
    before = client.query(ask).first_row
    assert client.query(ask, settings={"max_block_size": 7}).first_row == ("7",)
    assert client.query(ask).first_row == before


def test_a_get_only_reads(client: Client, clickhouse: str) -> None:
    query = urllib.parse.quote("INSERT INTO door.t VALUES (1, 'x')")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{clickhouse}/?query={query}")
    assert caught.value.headers["X-ClickHouse-Exception-Code"] == "164"
    assert urllib.request.urlopen(f"{clickhouse}/?query=SELECT%201").read() == b"1\n"
    assert urllib.request.urlopen(f"{clickhouse}/ping").read() == b"Ok.\n"


def test_many_clients_are_served_at_once(client: Client, clickhouse: str) -> None:
    def write_and_read(number: int) -> int:
        with connect(clickhouse, database="door") as own:
            own.insert("t", [[number, "x"]], column_names=["a", "b"])
            return int(own.query("SELECT sum(a) FROM t WHERE a = {n:UInt64}", parameters={"n": number}).first_row[0])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(write_and_read, range(16))) == list(range(16))
    assert len(stored(client)) == 16


@embedded
@pytest.mark.parametrize(
    "query",
    [
        "SELECT file('/etc/hostname')",
        "SELECT `file`('/etc/hostname')",
        "SELECT $$'$$, file('/etc/hostname') -- '",
        "SELECT fi/**/le('/etc/hostname')",
        "SELECT `fi\\x6ce`('/etc/hostname')",
        "SELECT * FROM file('/etc/hostname', 'LineAsString')",
        "DESCRIBE TABLE file('/etc/hostname', 'CSV')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
        "SELECT 1 INTO OUTFILE '{folder}/out'",
        "SELECT * FROM sqlite('{folder}/out', 't')",
        "SELECT 1; SELECT file('/etc/hostname')",
        "SELECT 1 SETTINGS max_memory_usage = 0",
        "INSERT INTO t VALUES (1, 'x')",
        "INSERT INTO t SELECT 1, 'x'",
        "DROP TABLE t",
        "CREATE TABLE u (a Int8) ENGINE = Memory",
        "SYSTEM SHUTDOWN",
        "SET readonly = 0",
    ],
)
def test_a_reader_reaches_neither_files_nor_network_nor_writes(
    client: Client, clickhouse: str, query: str, tmp_path: Path
) -> None:
    request = urllib.request.Request(f"{clickhouse}/?user=reader&database=door", query.format(folder=tmp_path).encode())
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert b"DB::Exception" in caught.value.read()
    assert list(tmp_path.iterdir()) == []
    assert stored(client) == []


@embedded
def test_a_reader_reads_by_the_real_client_and_lifts_no_limit(client: Client, clickhouse: str) -> None:
    client.insert("t", ROWS.rows(), column_names=["a", "b"])
    with connect(clickhouse, username="reader", database="door") as reader:
        assert stored(reader) == ROWS.rows()
    for setting, code in (
        ("max_memory_usage=0", "164"),
        ("max_execution_time=0", "452"),
        ("max_execution_time=61", "452"),
    ):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{clickhouse}/?user=reader&{setting}", b"SELECT 1")
        assert caught.value.headers["X-ClickHouse-Exception-Code"] == code
    assert urllib.request.urlopen(f"{clickhouse}/?user=reader&max_execution_time=5", b"SELECT 1").read() == b"1\n"


def test_an_insert_whose_client_went_away_midway_writes_nothing(client: Client, clickhouse: str) -> None:
    parts = urllib.parse.urlsplit(clickhouse)
    body = b'{"a": 1, "b": "x"}\n' * 1000
    head = f"POST /?database=door HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(body) * 2}\r\n\r\n"
    with socket.create_connection((parts.hostname or "", parts.port or 0)) as connection:
        connection.sendall(head.encode() + b"INSERT INTO t FORMAT JSONEachRow\n" + body)
    client.insert("t", [[7, "later"]], column_names=["a", "b"])
    assert stored(client) == [(7, "later")]


@embedded
@pytest.mark.parametrize("header", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_a_web_page_is_not_answered(clickhouse: str, header: dict[str, str]) -> None:
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(urllib.request.Request(clickhouse, b"SELECT 1", header))


@embedded
def test_a_name_that_was_bent_to_this_machine_is_not_answered(clickhouse: str) -> None:
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(clickhouse).netloc)
    connection.request("GET", "/?query=SELECT%201", headers={"Host": "evil.example"})
    assert connection.getresponse().status == 400


@embedded
def test_what_was_stored_survives_a_kill_and_the_folder_is_held_by_one(tmp_path: Path) -> None:
    service, url = services.engine(tmp_path / "data", port=0)
    supervisor = Supervisor(tmp_path)
    with supervisor:
        supervisor.start(service)
        with connect(url) as client:
            client.command("CREATE TABLE t (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
            client.insert("t", ROWS.rows(), column_names=["a", "b"])
        os.kill(supervisor.pids()["clickhouse"], 9)
    service, url = services.engine(tmp_path / "data", port=0)
    with supervisor:
        supervisor.start(service)
        with connect(url) as client:
            assert stored(client) == ROWS.rows()
