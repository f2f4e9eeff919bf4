import re
import socket
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result
from spanloom.cli import spanloom
from spanloom_traces import StoreError
from spanloom_viewer.canary import PAUSE, SERVICE, Flight, Seen, follow, how_far

SENT = Flight(acknowledged=0.5)


def flown(*looks: Seen | StoreError, until: float = 1e9) -> Flight:
    """The flight of a trace that is seen so at each look, by a clock that only pauses move."""
    now = [100.5]
    coming: Iterator[Seen | StoreError] = iter(looks)
    last: list[Seen | StoreError] = []

    def look() -> Seen:
        last[:] = [next(coming, *last[-1:])]
        if isinstance(last[0], StoreError):
            raise last[0]
        return last[0]

    def pause(seconds: float) -> None:
        now[0] += seconds

    return follow(look, SENT, 100.0, until, lambda: now[0], pause)


def test_it_waits_until_all_spans_are_stored_and_assembled() -> None:
    flight = flown(Seen(0, 0), Seen(1, 0), Seen(2, 1), Seen(2, 2))
    assert flight == Flight(0.5, pytest.approx(0.5 + 2 * PAUSE), pytest.approx(0.5 + 3 * PAUSE))


def test_it_may_be_assembled_before_it_is_stored() -> None:
    flight = flown(Seen(0, 2), Seen(2, 2))
    assert (flight.assembled, flight.stored) == (0.5, pytest.approx(0.5 + PAUSE))


def test_a_database_that_comes_back_in_time_is_only_late() -> None:
    assert flown(StoreError("away"), Seen(2, 2)) == Flight(0.5, pytest.approx(0.5 + PAUSE), pytest.approx(0.5 + PAUSE))


@pytest.mark.parametrize(
    ("flight", "line"),
    [
        (Flight(trouble="2 spans dropped: timeout"), "Kafka has not acknowledged it (2 spans dropped: timeout)"),
        (Flight(), "Kafka has not acknowledged it"),
        (
            flown(Seen(1, 0), until=101.0),
            "Kafka acknowledged it after 0.500 s, but it is neither in spans nor assembled: look at the sink's log",
        ),
        (
            flown(Seen(0, 2), until=101.0),
            "Kafka acknowledged it after 0.500 s and it is assembled, but it is not in spans: look at the sink's log",
        ),
        (
            flown(Seen(2, 1), until=101.0),
            "Kafka acknowledged it after 0.500 s, it was in spans after 0.500 s, but is not assembled: "
            "look at the processors' log",
        ),
        (
            flown(Seen(0, 0), StoreError("ClickHouse is away"), until=101.0),
            "Kafka acknowledged it after 0.500 s, but ClickHouse is away",
        ),
    ],
)
def test_where_the_time_is_up_the_line_says_how_far_it_came(flight: Flight, line: str) -> None:
    assert how_far(flight) == line


Run = Callable[..., Result]


@pytest.fixture
def run_on(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `spanloom canary` with these variables; nobody listens where nothing is said."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, not listening: nobody else gets it
        nowhere = f"127.0.0.1:{held.getsockname()[1]}"

    def run(*words: str, **variables: str) -> Result:
        given = {"KAFKA_BOOTSTRAP": nowhere, "CLICKHOUSE_URL": f"http://{nowhere}", **variables}
        for name, value in given.items():
            monkeypatch.setenv(f"SPANLOOM_{name}", value)
        return CliRunner().invoke(spanloom, ["canary", *words])

    return run


def test_without_a_broker_it_fails_with_one_line(run_on: Run) -> None:
    done = run_on("--timeout", "2")
    assert done.exit_code == 1
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert re.match(r"Error: the canary [0-9a-f]{32} is not readable after 2 s: Kafka has not acknowledged it", line)
    assert "is not to be had" in line


def test_a_producer_that_is_disabled_sends_no_canary(run_on: Run) -> None:
    done = run_on(DISABLED="true")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "SPANLOOM_DISABLED is set" in done.stderr


def test_its_service_has_a_name_of_its_own() -> None:
    assert SERVICE == "spanloom-canary"
