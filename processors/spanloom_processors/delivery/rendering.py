"""What an alert looks like outside: labels say which alert it is, annotations say everything else."""

from datetime import UTC, datetime

from spanloom_processors.core.alerts.metrics import render
from spanloom_processors.core.alerts.records import Alert, group_of
from spanloom_processors.core.alerts.rules import spell


def labels(alert: Alert) -> dict[str, str]:
    """The alert's identity for Alertmanager: rule, severity, group. Never a value or a trace id: those change."""
    named = {"alertname": alert["rule"], "severity": alert["severity"], **dict(group_of(alert))}
    return {key: value for key, value in named.items() if value}


def annotations(alert: Alert) -> dict[str, str]:
    """What people want to know; empty ones are left out."""
    trace_ids = alert["trace_ids"]
    found = {
        "summary": alert["summary"],
        "description": alert["description"],
        "value": render(alert["value"], alert["unit"]),
        "threshold": render(alert["threshold"], alert["unit"]) if alert["threshold"] is not None else "",
        "window": spell(alert["window_end"] - alert["window_start"]),
        "window_end": moment(alert["window_end"]),
        "trace_ids": ",".join(trace_ids),
        "look": f"spanloom trace {trace_ids[0]}" if trace_ids else "",
        "partial": "not all partitions had passed the window's end" if alert["partial"] else "",
        "identity": alert["identity"],
    }
    return {key: value for key, value in found.items() if value}


def moment(ms: int) -> str:
    """Epoch ms as RFC 3339 in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
