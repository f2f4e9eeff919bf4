from hypothesis import given
from hypothesis import strategies as st
from spanloom_traces.model import Span
from spanloom_traces.tree import arrange
from spanloom_viewer.guides import guides


def span(span_id: str, parent_id: str | None = None, start: int = 0, *, remote: bool = False) -> Span:
    return Span(span_id, parent_id, remote, span_id, "other", "service", start, start + 1)


def shape(spans: list[Span]) -> list[str]:
    nodes = arrange(spans)
    return [guide + node.span.span_id for guide, node in zip(guides(nodes), nodes, strict=True)]


def test_children_follow_their_parent_by_start():
    spans = [span("late", "root", 5), span("early", "root", 2), span("root"), span("leaf", "early", 3)]
    assert shape(spans) == ["root", "├ early", "│ └ leaf", "└ late"]


def test_a_span_whose_parent_is_missing_is_a_root_and_says_so():
    rows = arrange([span("root"), span("lost", "nowhere", 3)])
    assert [(row.span.span_id, row.orphan) for row in rows] == [("root", False), ("lost", True)]


def test_a_service_entry_below_a_foreign_caller_is_no_orphan():
    assert not arrange([span("entry", "caller", remote=True)])[0].orphan


def test_spans_whose_parents_form_a_cycle_hang_from_the_earliest():
    rows = arrange([span("root"), span("b", "c", 2), span("c", "b", 3), span("self", "self", 9)])
    assert [(row.span.span_id, row.depth, row.cycle) for row in rows] == [
        ("root", 0, False),
        ("b", 0, True),
        ("c", 1, False),
        ("self", 0, True),
    ]


def test_a_chain_of_ten_thousand_spans_is_arranged():
    spans = [span("0"), *(span(str(n), str(n - 1), n) for n in range(1, 10_000))]
    rows = arrange(spans)
    assert [row.span.span_id for row in rows] == [str(n) for n in range(10_000)]
    assert max(map(len, guides(rows))) < 40


@given(st.lists(st.tuples(st.integers(0, 9), st.none() | st.integers(0, 12), st.integers(0, 5)), max_size=12))
def test_every_span_stands_in_the_tree_once_and_after_its_parent_unless_a_cycle_is_cut(facts):
    spans = [span(str(name), None if parent is None else str(parent), start) for name, parent, start in facts]
    rows = arrange(spans)
    names = [row.span.span_id for row in rows]
    assert sorted(names) == sorted({one.span_id for one in spans})
    for position, row in enumerate(rows):
        if row.depth:
            parent = names.index(row.span.parent_id)
            assert parent < position
            assert row.depth == rows[parent].depth + 1
            assert all(between.depth >= row.depth for between in rows[parent + 1 : position])
