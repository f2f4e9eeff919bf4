"""Calls whose usage is counted twice, by the statement that finds them."""

from typing import Any

from spanloom_schemas.settings import ClickHouseSettings
from spanloom_sinks.store import Store
from spanloom_sinks.verify.facts import Window
from spanloom_sinks.verify.looking import Tables, bounds

from tests.sinks.conftest import Fill, Traffic

MINUTE = 1_710_000_000


def call(traffic: Traffic, trace: str, response: str, scope: str, tokens: int | None = 7) -> dict[str, Any]:
    said = {"gen_ai.response.id": response, "otel.scope.name": scope}
    return traffic.span(
        trace_id=trace,
        kind="llm",
        end=(MINUTE + 5) * 10**9,
        llm={"input_tokens": tokens},
        attributes=[{"key": key, "value": value} for key, value in said.items() if value],
    )


def test_a_call_with_usage_on_spans_of_two_instrumentations_counts_twice_and_is_found(
    fill: Fill, traffic: Traffic, database: ClickHouseSettings
) -> None:
    one, other = traffic.id(16), traffic.id(16)
    spans = [
        *(call(traffic, one, "r-1", scope) for scope in ("openai", "openinference")),
        *(call(traffic, one, "r-2", "openai", tokens) for tokens in (7, None)),  # an echo has no usage
        *(call(traffic, one, "r-3", "openai") for _ in range(2)),  # Ollama's ids are one of a thousand
        *(call(traffic, trace, "r-4", scope) for trace, scope in ((one, "openai"), (other, "openinference"))),
        *(call(traffic, one, "", scope) for scope in ("openai", "openinference")),
    ]
    fill("llm.spans", [(0, MINUTE * 1000, traffic.encoded(spans))])
    found = Tables(Store(database), None).contents(Window(MINUTE, MINUTE + 60), bounds("", [], 0))
    assert (found.twice, found.twice_of) == (1, (f"trace {one}, answer r-1",))
