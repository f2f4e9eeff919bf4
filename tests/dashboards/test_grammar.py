"""The grammar of filters: MLflow's, and no other."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from spanloom_traces.conditions import Field, Parameters, compiled
from spanloom_traces.grammar import Condition, FilterError, parse

ENTITIES = {"params": "param", "parameter": "param", "metrics": "metric", "attributes": "attribute"}
NAMED = {"param": "params", "metric": "metrics", "": ""}


def test_the_filter_of_the_specification_is_read():
    assert parse("params.llm.model='gpt-4o' AND metrics.latency_ms_p95<1200 AND metrics.cost_usd<0.002", ENTITIES) == (
        Condition("param", "llm.model", "=", "gpt-4o"),
        Condition("metric", "latency_ms_p95", "<", 1200),
        Condition("metric", "cost_usd", "<", 0.002),
    )


@pytest.mark.parametrize(
    ("filter", "condition"),
    [
        ('Parameter.a = "x"', Condition("param", "a", "=", "x")),
        ("params.\"a b\" LIKE 'x%'", Condition("param", "a b", "LIKE", "x%")),
        ("params.`a\"b``c` iLike 'x'", Condition("param", 'a"b`c', "ILIKE", "x")),
        ("duration >= 2.5", Condition("", "duration", ">=", 2.5)),
        ("metrics.m != -1e-3", Condition("metric", "m", "!=", -0.001)),
        ("status not  in ('it''s', \"b\")", Condition("", "status", "NOT IN", ("it's", "b"))),
        ("run_id IN ('a')", Condition("", "run_id", "IN", ("a",))),
        ("scores.x = 1", Condition("", "scores.x", "=", 1)),
        ("params.sql = ' AND 1 = 1 --'", Condition("param", "sql", "=", " AND 1 = 1 --")),
    ],
)
def test_every_form_of_a_comparison_is_read(filter, condition):
    assert parse(filter, ENTITIES) == (condition,)


@pytest.mark.parametrize("filter", ["", "  \n"])
def test_an_empty_filter_asks_for_nothing(filter):
    assert parse(filter, ENTITIES) == ()


@pytest.mark.parametrize(
    ("filter", "said"),
    [
        ("params.a = 'x' OR params.b = 'y'", "at 'OR' (character 16): expected AND or the end"),
        ("params.a == 'x'", "at '=' (character 11): expected a number or a text in quotes"),
        ("params.a", "at its end: expected a comparator"),
        ("= 3", "at '=' (character 1): expected a field"),
        ("params.a = x", "at 'x' (character 12): expected a number or a text in quotes"),
        ("params.a = 'x", 'at "\'x" (character 12)'),
        ("run_id IN 'a'", "expected a list of texts"),
        ("run_id IN ()", "at ')' (character 12): expected a text in quotes"),
        ("run_id IN ('a',)", "expected a text in quotes"),
        ("run_id NOT 'a'", "expected a comparator"),
        ("a = 1 AND", "at its end: expected a field"),
        ("a = 1; DROP TABLE spans", "at '; DROP TABLE spans' (character 6)"),
    ],
)
def test_what_is_no_filter_is_refused_in_one_line_that_says_where(filter, said):
    with pytest.raises(FilterError, match=r"^the filter cannot be read") as refused:
        parse(filter, ENTITIES)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def quoted(text: str, quote: str) -> str:
    return quote + text.replace(quote, quote * 2) + quote


@st.composite
def conditions(draw) -> tuple[str, Condition]:
    """A comparison as a person may write it, and what it means."""
    entity = draw(st.sampled_from(sorted(NAMED)))
    plain = draw(st.from_regex(r"k[a-z_]{0,4}(\.[a-z0-9]{1,3}){0,2}", fullmatch=True))
    key = draw(st.text(min_size=1)) if entity and draw(st.booleans()) else plain
    written = key if key == plain else quoted(key, draw(st.sampled_from('"`')))
    quotes, space = st.sampled_from("'\""), st.sampled_from(["", " ", "\t\n "])
    value = draw(st.text() | st.integers(-(10**17), 10**17) | st.floats(allow_nan=False, allow_infinity=False)
                 | st.lists(st.text(), min_size=1, max_size=3).map(tuple))  # fmt: skip
    if isinstance(value, tuple):
        comparator = draw(st.sampled_from(["IN", "NOT IN"]))
        right = "(" + draw(space).join([",".join(quoted(one, draw(quotes)) for one in value), ")"])
    else:
        comparator = draw(st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "LIKE", "ILIKE"]))
        right = quoted(value, draw(quotes)) if isinstance(value, str) else repr(value)
    word = comparator if draw(st.booleans()) else comparator.lower()
    gap = " " if comparator.isalpha() or " " in comparator else draw(space)
    left = f"{NAMED[entity]}.{written}" if entity else written
    return f"{draw(space)}{left}{gap}{word}{gap}{right}", Condition(entity, key, comparator, value)


@settings(max_examples=60)
@given(st.lists(conditions(), min_size=1, max_size=4))
def test_what_is_written_is_what_is_read(written):
    assert parse(" AND ".join(text for text, _ in written), ENTITIES) == tuple(meant for _, meant in written)


@given(st.text(alphabet="ab.'\"`= <>!()1,\\\nINAD") | st.text())
@example("NOT NOT IN ('a')")
def test_any_text_is_read_or_refused_in_one_way(text):
    try:
        found = parse(text, ENTITIES)
    except FilterError:
        return
    assert all(one.key for one in found)


@given(
    st.text(min_size=3), st.sampled_from(["=", "LIKE", "!=", "IN"]), st.sampled_from(["", "exists(one -> {}, many)"])
)
def test_no_value_is_ever_part_of_the_sql(value, comparator, among):
    parameters, field = Parameters(), Field("column", "text", among)
    condition = Condition("param", "k", comparator, (value,) if comparator == "IN" else value)
    sql = compiled([condition], lambda *_: field, parameters)
    assert list(parameters.values.values()) == [[value] if comparator == "IN" else value]
    harmless = compiled([Condition("", "k", comparator, "")], lambda *_: field, Parameters())
    assert set(sql) <= set(harmless) | set("Array()")


@pytest.mark.parametrize(
    ("comparator", "value", "kind"),
    [("<", "x", "text"), ("LIKE", "x", "number"), ("=", "x", "number"), ("=", 1, "text")],
)
def test_a_text_is_compared_with_texts_and_a_number_with_numbers(comparator, value, kind):
    with pytest.raises(FilterError, match=r"k is a (text|number)"):
        compiled([Condition("", "k", comparator, value)], lambda *_: Field("column", kind), Parameters())
