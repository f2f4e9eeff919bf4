"""Filters are read as MLflow's own parser reads them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.utils.search_utils import SearchUtils
from spanloom_traces.grammar import FilterError, Value, parse
from spanloom_traces.runs import ENTITIES

OURS = {"parameter": "param", "metric": "metric", "tag": "tag", "attribute": "attribute"}


def by_mlflow(filter: str) -> list[tuple[str, str, str, Value]]:
    found = SearchUtils.parse_search_filter(filter)
    return [(OURS[one["type"]], one["key"], one["comparator"].upper(), _value(one)) for one in found]


def _value(one: dict[str, object]) -> Value:
    value = one["value"]
    numeric = one["type"] == "metric" or one["key"] in ("start_time", "end_time")
    return float(value) if numeric else value  # type: ignore[arg-type,return-value]


def by_us(filter: str) -> list[tuple[str, str, str, Value]]:
    return [
        (
            one.entity or "attribute",
            one.key,
            one.comparator,
            float(one.value) if isinstance(one.value, int) else one.value,
        )
        for one in parse(filter, ENTITIES)
    ]


@pytest.mark.parametrize(
    "filter",
    [
        "params.llm.model='gpt-4o' AND metrics.latency_ms_p95<1200 AND metrics.cost_usd<0.002",
        'parameter.`a b` = \'x\' and param."c.d" != "y"',
        "tags.service like '%chat%' AND tag.x ILIKE 'A_'",
        "attributes.run_id IN ('a', 'b') and run.run_name = 'x'",
        "run_id NOT IN ('a')",
        "start_time > 1700000000000 AND attr.end_time <= 1800000000000",
        "metric.m>=-1.5 AND metrics.n != 1e-3",
    ],
)
def test_every_form_is_read_alike(filter):
    assert by_us(filter) == by_mlflow(filter)


WORD = st.from_regex(r"[a-z][a-z_]{2,6}", fullmatch=True).map(lambda word: f"k{word}")
TEXT = st.text(alphabet="abc xyz-_.%/0", max_size=8)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["params", "tags"]), WORD, st.sampled_from(["=", "!=", "LIKE", "ILIKE"]), TEXT)
        | st.tuples(
            st.just("metrics"), WORD, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), st.integers(0, 10**9)
        ),
        min_size=1,
        max_size=3,
    )
)
def test_whatever_is_joined_is_read_alike(conditions):
    filter = " AND ".join(f"{entity}.{key} {comparator} {value!r}" for entity, key, comparator, value in conditions)
    assert by_us(filter) == by_mlflow(filter)


@pytest.mark.parametrize(
    "filter", ["params.a = 'x' OR params.b = 'y'", "params.a = x", "params.a", "= 3", "params.a = 'x"]
)
def test_what_mlflow_refuses_is_refused(filter):
    with pytest.raises(MlflowException):
        by_mlflow(filter)
    with pytest.raises(FilterError):
        by_us(filter)
