import os
import urllib.error
import urllib.request
from urllib.parse import urlencode

import pytest
from spanloom_stack import native

pytestmark = pytest.mark.skipif(
    os.environ.get("SPANLOOM_TEST_BACKEND") == "docker", reason="a server frames Native itself"
)

PREAMBLE = b"\x01\x00\x02\xff\xff\xff\xff\x00"
VALUES = {
    "UInt64": "number",
    "String": "repeat('x', 200 * number)",
    "LowCardinality(String)": "toLowCardinality(toString(number % 2))",
    "LowCardinality(Nullable(String))": "toLowCardinality(toNullable('x'))",
    "Nullable(Float64)": "if(number = 1, NULL, 0.5)",
    "Nullable(Nothing)": "NULL",
    "Array(Array(UInt8))": "[[1], [2, 3], []]",
    "Array(LowCardinality(String))": "CAST(['a', 'b'], 'Array(LowCardinality(String))')",
    "Map(LowCardinality(String), String)": "CAST(map('k', 'v'), 'Map(LowCardinality(String), String)')",
    "Array(Map(String, String))": "[map('key', 'a', 'value', 'b')]",
    "Tuple(a UInt8, `b, c` String)": "CAST((1, '2'), 'Tuple(a UInt8, `b, c` String)')",
    "Enum8('a,(' = 1)": r"CAST('a,(', 'Enum8(\'a,(\' = 1)')",
    "DateTime64(9, 'UTC')": "toDateTime64('2026-01-02 03:04:05.6', 9, 'UTC')",
    "Decimal(38, 3)": "toDecimal128(1.5, 3)",
    "FixedString(3)": "toFixedString('ab', 3)",
    "UUID": "toUUID('00000000-0000-0000-0000-000000000001')",
    "IntervalDay": "toIntervalDay(1)",
    "SimpleAggregateFunction(max, UInt8)": "CAST(1, 'SimpleAggregateFunction(max, UInt8)')",
    "Tuple()": "tuple()",
}


def ask(url: str, columns: str, **options: str) -> bytes:
    query = f"SELECT {columns} FROM numbers(3) FORMAT Native"
    return bytes(urllib.request.urlopen(f"{url}/?{urlencode(options)}", query.encode()).read())


def column(url: str, expression: str, name: str) -> tuple[bytes, bytes]:
    """Name and type, and data, of a column that is alone in its block."""
    block = ask(url, f"{expression} AS {name}")
    assert block[:2] == b"\x01\x03"
    assert block[2 : 3 + len(name)] == bytes([len(name)]) + name.encode()
    end = 3 + len(name)
    length = block[end]
    return block[2 : end + 1 + length], block[end + 1 + length :]


@pytest.mark.parametrize("kind", VALUES)
def test_a_column_of_any_type_is_framed_whole(clickhouse: str, kind: str) -> None:
    head, data = column(clickhouse, VALUES[kind], "first")
    assert kind.encode() in head
    next_head, next_data = column(clickhouse, "toUInt8(7)", "second")
    framed = ask(clickhouse, f"{VALUES[kind]} AS first, toUInt8(7) AS second", client_protocol_version="54460")
    assert framed == PREAMBLE + b"\x02\x03" + head + b"\x00" + data + next_head + b"\x00" + next_data


def test_blocks_follow_one_another(clickhouse: str) -> None:
    block = ask(clickhouse, "number, toString(number)")
    assert native.reframed(block + block) == native.reframed(block) * 2
    assert native.reframed(b"") == b""


def test_a_type_that_cannot_be_framed_is_an_error_not_garbage(clickhouse: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(clickhouse, """CAST('{"a": 1}', 'JSON') AS j""", client_protocol_version="54460")
    assert caught.value.code == 501
    assert b"a column of type JSON cannot be sent" in caught.value.read()
