"""Alerts, each as its last record."""

from typing import Any

from spanloom_traces.conditions import Parameters
from spanloom_traces.connection import Connection
from spanloom_traces.model import Alert
from spanloom_traces.period import Since, moment

_ALERTS = """
SELECT
    t.rule AS rule, arraySort(arrayZip(mapKeys(t.labels), mapValues(t.labels))) AS group, t.state AS state,
    t.severity AS severity, t.value AS value, t.threshold AS threshold, t.unit AS unit,
    toUnixTimestamp64Milli(t.window_start) AS window_start, toUnixTimestamp64Milli(t.window_end) AS window_end,
    toUnixTimestamp64Milli(t.since) AS since, t.partial AS partial, t.trace_ids AS trace_ids, t.summary AS summary
FROM alerts_now AS t
WHERE t.state != 'resolved' OR t.at >=
"""


def alerts(connection: Connection, since: Since) -> list[Alert]:
    """Every alert that is pending or firing, or was resolved since then. Raises StoreError."""
    parameters = Parameters()
    text = _ALERTS + moment(since, parameters)
    return [_alert(row) for row in connection.rows(text, parameters.values)]


def _alert(row: dict[str, Any]) -> Alert:
    group = tuple((key, value) for key, value in row["group"])
    return Alert(**row | {"group": group, "trace_ids": tuple(row["trace_ids"])})
