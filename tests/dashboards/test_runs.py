"""Runs and prompt versions: measured, filtered in MLflow's grammar, compared."""

from datetime import timedelta

import pytest
from spanloom_traces import FilterError, NotThere
from spanloom_traces.runs import METRICS, PARAMS, TAGS

from tests.dashboards.conftest import DEAR, FAILED, NOW, RUNS, SLOW


def names(found) -> list[str]:
    return [run.run_id for run in found]


def test_a_run_is_measured_from_its_traces_and_described_by_its_spans(store):
    one, two = sorted(store.runs(), key=lambda run: run.run_id)
    assert one.params == {
        "llm.model": "gpt-4o",
        "llm.provider": "openai",
        "llm.temperature": "0.2",
        "llm.max_tokens": "256",
        "prompt.id": "answer",
        "prompt.version": "1",
    }
    assert (one.tags, two.params["llm.temperature"]) == ({"service": "chat"}, "0.7")
    assert one.end - one.start == 10**9
    assert one.start <= NOW - 2 * 86_400 * 10**9
    metrics = one.metrics
    assert (metrics["requests"], metrics["errors"], metrics["error_rate"]) == (3, 0, 0)
    assert [metrics[f"latency_ms_{q}"] for q in ("p50", "p95", "p99", "mean")] == [200, 300, 300, 200]
    assert (metrics["cost_usd"], metrics["cost_usd_total"], metrics["cost_usd_known"]) == (0.001, 0.003, 0.003)
    assert (metrics["input_tokens"], metrics["tokens_per_request"]) == (300, 110)
    assert metrics["score.hit_at_k"] == pytest.approx(1 / 3)
    assert {"ttft_ms_p50", "context_use_rate"}.isdisjoint(metrics)


def test_a_score_of_nothing_but_zeros_is_zero_and_not_unknown(store):
    assert names(store.runs("metrics.score.hit_at_k < 0.5")) == ["one"]
    assert names(store.runs("metrics.score.thumbs >= 0")) == []


def test_an_unknown_cost_is_neither_zero_nor_below_anything(store):
    (two,) = store.runs("run_id = 'two'")
    assert two.metrics["cost_usd_known"] == 0.006
    assert two.metrics["unpriced"] == 1
    assert {"cost_usd", "cost_usd_total"}.isdisjoint(two.metrics)
    assert names(store.runs("metrics.cost_usd < 1000")) == ["one"]


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ("params.llm.model='gpt-4o' AND metrics.latency_ms_p95<1200 AND metrics.cost_usd<0.002", ["one"]),
        ("params.llm.model = 'gpt-4o' AND metrics.latency_ms_p95 < 250", []),
        ("params.`llm.model` LIKE 'gpt-4o%' and metrics.error_rate > 0", ["two"]),
        ("params.\"prompt.version\" != '1'", ["two"]),
        ("params.llm.top_p != '1'", []),
        ("tags.service ILIKE 'CHAT' AND attributes.run_id IN ('one', 'x')", ["one"]),
        ("run_name NOT IN ('one')", ["two"]),
        ("start_time > 0 AND end_time < 1000", []),
        ("params.llm.temperature = '0.2' AND metrics.requests = 3", ["one"]),
        ('params.prompt.id = "answer\' OR 1=1 --"', []),
    ],
)
def test_runs_are_found_by_a_filter_in_mlflows_grammar(store, filter, expected):
    assert names(store.runs(filter)) == expected


def test_every_param_tag_and_metric_can_be_filtered_by(store):
    every = [f"params.{name} = 'x'" for name in PARAMS] + [f"tags.{name} = 'x'" for name in TAGS]
    every += [f"metrics.{name} < 0" for name in METRICS]
    assert names(store.runs(" AND ".join(every))) == []


@pytest.mark.parametrize(
    ("filter", "said"),
    [
        ("params.llm.modell = 'x'", "a run has no param 'llm.modell'; a filter may name llm.model, "),
        ("metrics.cost < 1", "a run has no metric 'cost'"),
        ("cost_usd < 1", "a run has no attribute 'cost_usd'"),
        ("metrics.cost_usd < '1'", "cost_usd is a number"),
        ("params.llm.model = 4", "llm.model is a text"),
    ],
)
def test_a_filter_that_names_what_there_is_not_says_what_there_is(store, filter, said):
    with pytest.raises(FilterError, match=said):
        store.runs(filter)


def test_runs_of_other_times_are_left_out(store):
    assert names(store.runs(since=timedelta(hours=1))) == []
    assert names(store.runs(limit=1)) == ["one"]


def test_prompt_versions_are_measured_like_runs(store):
    assert sorted(names(store.runs(by="prompt"))) == ["answer@1", "answer@2"]
    assert names(store.runs("metrics.latency_ms_p50 > 400", by="prompt")) == ["answer@2"]


def test_runs_are_a_frame_with_the_columns_of_mlflows(store):
    frame = store.runs().frame().sort("run_id")
    assert frame["params.llm.model"].to_list() == ["gpt-4o", "gpt-4o-mini"]
    assert frame["metrics.cost_usd"].to_list() == [0.001, None]
    assert store.runs("run_id = 'none'").frame().columns == ["run_id", "start", "end"]


@pytest.mark.parametrize(
    ("a", "b", "kind"), [("one", "two", "run"), ("answer@1", "answer@2", "prompt"), (RUNS[0], RUNS[5], "trace")]
)
def test_two_of_a_kind_are_compared_side_by_side(store, a, b, kind):
    found = store.compare(a, b)
    assert (found.kind, found.a, found.b) == (kind, a, b)
    values = {(one.about, one.name): one for one in found.values}
    latency = values["metrics", "latency_ms" if kind == "trace" else "latency_ms_p95"]
    assert latency.change == latency.b - latency.a
    assert latency.ratio == pytest.approx(latency.change / latency.a)
    cost = values["metrics", "cost_usd"]
    assert (cost.a, cost.b, cost.change, cost.differs) == (0.001, None, None, True)
    service = values["params" if kind == "trace" else "tags", "service"]
    assert (service.a, service.differs, service.change) == ("chat", False, None)


def test_the_documents_of_two_traces_are_compared_by_their_scores(store):
    values = {one.name: (one.a, one.b) for one in store.compare(SLOW, FAILED).values if one.about == "documents"}
    assert values == {"a": (2.5, None), "b": (0.5, None)}
    assert store.compare(SLOW, DEAR).kind == "trace"


def test_what_is_no_pair_is_said_in_one_line(store):
    with pytest.raises(NotThere, match="one and answer@2 are neither two runs"):
        store.compare("one", "answer@2")
