"""How long Grafana's boards take over a month: every query of roll-ups, on what 50 keys make in 30 days.

The roll-ups are filled directly: a row a key and hour in `panes_1h`, with sketches of some 260 buckets, and for the
last two days a row a key and minute in `panes_1m`; each key has 60 spans a minute. The 36,000 requests of an hour come
from 1,000 users through two pipelines each: 2,000 rows an hour in `traces_1h`, and in `traces` those of the last hour,
which is not summed up yet. `month_query_p95` is over all queries that read roll-ups, each asked several times;
`month_query_panels` says how many, and `month_query_left_out` how many panels read single rows (traces, spans,
messages, samples, alerts), which take as long as there are rows. `month_query_cpu_p95` is what they use of the
engine's cores, on a busy machine the fairer figure; `month_overview` is all of the overview at once, as a browser
asks.
"""

import json
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import quantiles

import clickhouse_connect
import sink
from clickhouse_connect.driver.client import Client
from spanloom_boards.__main__ import FOLDER
from spanloom_boards.testing import View, expand, opened, targets
from spanloom_schemas.settings import ClickHouseSettings
from spanloom_sinks import migrate

import processors

KEYS, DAYS, TURNS = 50, 30, 5
ROLLED_UP = re.compile(r"\brolled_up|\bpanes_1[mh]\b")
_SKETCH = """arrayFilter(b -> b.2 > 0, arrayMap(
    i -> CAST((i, toInt64(round({spans} * exp(-pow((i - {middle}) / 45., 2) / 2) / 113))),
        'Tuple(index Int32, count Int64)'),
    range({middle} - 160, {middle} + 160)))"""
FILL = """
INSERT INTO {table} (start, environment, service, kind, request, model, prompt_id, prompt_version, tenant, run_id,
    revision, spans, errors, blocks, input_tokens, cache_read_tokens, output_tokens, context_tokens, documents, cited,
    cost, unpriced, duration, duration_sketch, ttft_sketch, tpot_sketch, scores, block_reasons)
SELECT toDateTime({first} + {width} * intDiv(number, {keys})), 'production', concat('service-', toString(k % 5)),
    ['request', 'llm', 'retrieval', 'tool', 'safety'][1 + k % 5], k % 5 = 0,
    if(k % 5 = 1, ['gpt-4o', 'gpt-4o-mini'][1 + k % 2], ''),
    if(k % 5 = 1, concat('prompt-', toString(intDiv(k, 10))), ''),
    if(k % 5 = 1, toString(1 + k % 2), ''), concat('tenant-', toString(k % 3)), concat('run-', toString(k % 4)),
    1, {spans}, intDiv({spans}, 150), intDiv({spans}, 200), {spans} * 800, {spans} * 300, {spans} * 120, {spans} * 500,
    if(k % 5 = 2, {spans} * 4, 0), if(k % 5 = 2, {spans}, 0), {spans} * 500000, 0, {spans} * 700000000,
    {duration}, if(k % 5 = 1, {ttft}, []), if(k % 5 = 1, {tpot}, []),
    [('thumbs', intDiv({spans}, 20), intDiv({spans}, 25) * 1000000), ('hit_at_k', {spans}, {spans} * 900000)],
    [('pii', intDiv({spans}, 300)), ('toxicity', intDiv({spans}, 600))]
FROM (SELECT number, number % {keys} AS k FROM numbers({rows}))
"""

_OF_TRACES = (
    "environment, tenant, service, name, user, spans, input_tokens, output_tokens, cost, unpriced, duration, stages"
)
_WHO = """'production', concat('tenant-', toString(number % 3)), concat('service-', toString(number % 5)),
    concat('POST /', toString(number % 7)), concat('k1:', leftPad(toString(number % {users}), 32, '0')),
    {traces} * 8, {traces} * 900, {traces} * 130, {traces} * 600000, 0, {traces} * 1500000000,
    arrayMap((kind, n) -> (kind, {traces}, {traces} * n, {traces} * n)::Tuple(kind String, spans Int64, duration Int64,
        self Int64), ['request', 'llm', 'retrieval', 'tool', 'safety'], range(100, 600, 100))"""
FILL_HOURS = f"""
INSERT INTO traces_1h (start, version, traces, failed, {_OF_TRACES})
SELECT toDateTime({{first}} + 3600 * intDiv(number, 2000)), 1, 18, number % 100 = 0,
    {_WHO.format(users=1000, traces=18)}
FROM numbers({{hours}} * 2000)
"""
FILL_TRACES = f"""
INSERT INTO traces (start, end, log_time, trace_id, first_offset, {_OF_TRACES})
SELECT fromUnixTimestamp64Milli({{first}} * 1000 + number * 100) AS start, start, start,
    lower(leftPad(hex(number), 32, '0')), number, {_WHO.format(users=1000, traces=1)}
FROM numbers({{traces}})
"""


def main() -> None:
    with sink.engine(pinned=False) as (url, pid):
        migrate.apply(ClickHouseSettings(clickhouse_url=url))
        until = int(time.time())
        client = sink.connect(url, "spanloom")
        fill(client, "panes_1h", 3600, until, DAYS * 24)
        fill(client, "panes_1m", 60, until, 2 * 24 * 60)
        fill_traces(client, until)
        boards = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
        asked = {name: statements(board, client, until) for name, board in boards.items()}
        rows = [f"{name}: {title}" for name, board in boards.items() for title in of_rows(board)]
        print(f"left out, since they read rows as they are: {'; '.join(rows)}", file=sys.stderr)
        print(f"month_query_panels {sum(map(len, asked.values()))} panels")
        print(f"month_query_left_out {len(rows)} panels")
        took, used = measured([sql for each in asked.values() for sql in each], client, pid)
        print(f"month_query_p95 {p95(took):.0f} ms")
        print(f"month_query_cpu_p95 {p95(used):.0f} ms")
        print(f"month_overview {at_once(url, asked['overview']) * 1000:.0f} ms")


def measured(sqls: list[str], client: Client, pid: int) -> tuple[list[float], list[float]]:
    """Milliseconds that queries take, and that the engine uses of its cores for them."""
    took, used = [], []
    for sql in sqls:
        timed(client, sql)
        before = processors.cpu(pid)
        took += [timed(client, sql) * 1000 for _ in range(TURNS)]
        used.append((processors.cpu(pid) - before) / TURNS * 1000)
    print(f"{len(sqls)} queries; the dearest:\n{sqls[used.index(max(used))]}", file=sys.stderr)
    return took, used


def p95(values: list[float]) -> float:
    return quantiles(values, n=20)[-1]


def fill(client: Client, table: str, width: int, until: int, windows: int) -> None:
    """Rows of every key for the last `windows` of `width` seconds each."""
    spans = width
    sketches = {
        name: _SKETCH.format(spans=spans, middle=middle)
        for name, middle in (("duration", 1885), ("ttft", 1760), ("tpot", 1560))
    }
    first = until // width * width - (windows - 1) * width
    client.command(
        FILL.format(table=table, first=first, width=width, keys=KEYS, rows=KEYS * windows, spans=spans, **sketches)
    )


def fill_traces(client: Client, until: int) -> None:
    """Hours of a month, and the traces of the one that runs: ten a second."""
    running = (until - 600) // 3600 * 3600
    client.command(FILL_HOURS.format(first=running - DAYS * 86_400, hours=DAYS * 24))
    client.command(f"INSERT INTO traces_1h_closed VALUES (toDateTime({running - 3600}))")
    client.command(FILL_TRACES.format(first=running, traces=10 * (until - running)))


def statements(board: dict, client: Client, until: int) -> list[str]:  # type: ignore[type-arg]
    """The board's queries of roll-ups over the month, as the plugin sends them: everything chosen, a point an hour."""
    view = View(until - DAYS * 86_400, until, 3600)
    opened(board, view, lambda sql: [str(row[0]) for row in client.query(sql).result_rows])
    sqls = [target["rawSql"] for _, target in targets(board) if "rawSql" in target]
    return [expand(sql, view) for sql in sqls if ROLLED_UP.search(sql)]


def of_rows(board: dict) -> list[str]:  # type: ignore[type-arg]
    """The titles of the board's other panels of ClickHouse."""
    found = [(panel, target["rawSql"]) for panel, target in targets(board) if "rawSql" in target]
    return [panel["title"] for panel, sql in found if not ROLLED_UP.search(sql)]


def timed(client: Client, sql: str) -> float:
    """Seconds until the whole answer is here."""
    begun = time.perf_counter()
    if not client.query(sql).result_rows:
        sys.exit(f"no rows: {sql}")
    return time.perf_counter() - begun


def at_once(url: str, sqls: list[str]) -> float:
    """Seconds that all of them take, six at a time."""
    client = clickhouse_connect.get_client(dsn=f"{url}/spanloom", autogenerate_session_id=False)
    begun = time.perf_counter()
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(client.query, sqls))
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
