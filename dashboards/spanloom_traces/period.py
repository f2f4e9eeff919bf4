"""From when to when: how far back, or moments. Pure."""

from datetime import UTC, datetime, timedelta

from spanloom_traces.conditions import Parameters

Since = datetime | timedelta
"""A moment, or how far back from the server's now. A moment without a time zone is UTC."""


def began(column: str, since: Since, until: datetime | None, parameters: Parameters) -> str:
    """An expression that holds where the moment `column` is at or after `since`, and before `until`."""
    return " AND ".join(
        [
            f"{column} >= {moment(since, parameters)}",
            *([f"{column} < {moment(until, parameters)}"] if until is not None else []),
        ]
    )


def moment(since: Since, parameters: Parameters) -> str:
    """The moment as an expression."""
    if isinstance(since, timedelta):
        return f"now64(9, 'UTC') - toIntervalMicrosecond({parameters.add(since // timedelta(microseconds=1), 'Int64')})"
    past = (since if since.tzinfo else since.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    microseconds = parameters.add(past // timedelta(microseconds=1), "Int64")
    return f"fromUnixTimestamp64Micro({microseconds}, 'UTC')"
