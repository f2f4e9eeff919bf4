from hypothesis import given
from hypothesis import strategies as st
from spanloom.otel.calls import Call, Calls

INNER = Call("sdk", "t", 2, 1, 10, 20, "m", "msg_1", True, False)


def outer(**changed: object) -> Call:
    return INNER._replace(scope="instrumentor", span_id=3, start=9, end=21)._replace(**changed)


def echoes(*calls: Call) -> list[int | None]:
    seen = Calls()
    return [seen.original(call) for call in calls]


def test_the_same_answer_beside_or_around_is_an_echo() -> None:
    assert echoes(INNER, outer()) == [None, 2]
    assert echoes(INNER._replace(parent=3), outer()) == [None, 2]
    assert echoes(INNER._replace(parent=None), outer(parent=None, trace_id="u")) == [None, 2]


def test_a_parent_around_the_call_is_an_echo_though_it_knows_no_answer() -> None:
    assert echoes(INNER._replace(parent=3), outer(response="")) == [None, 2]
    assert echoes(INNER._replace(parent=3), outer(response="", model="other")) == [None, None]
    assert echoes(INNER._replace(parent=3), outer(response="msg_2")) == [None, None]


def test_an_echo_of_an_echo_names_the_call() -> None:
    inner = INNER._replace(parent=3, response="", failed=True, counted=False)
    middle = outer(parent=4, response="", failed=True, counted=False)
    last = outer(scope="framework", span_id=4, start=8, end=22, response="", failed=True, counted=False)
    assert echoes(inner, middle, last) == [None, 2, 2]


def test_siblings_that_failed_without_an_answer_are_one_call() -> None:
    failed = INNER._replace(response="", counted=False, failed=True)
    assert echoes(failed, outer(response="", counted=False, failed=True)) == [None, 2]
    assert echoes(failed, outer(response="", counted=False, failed=False)) == [None, None]


def test_two_calls_are_two() -> None:
    assert echoes(INNER, outer(response="msg_2")) == [None, None]
    assert echoes(INNER, outer(start=30, end=40)) == [None, None]
    assert echoes(INNER, outer(trace_id="u")) == [None, None]
    assert echoes(INNER, outer(scope="sdk")) == [None, None]


def test_two_roots_are_one_call_only_where_they_are_of_one_sender() -> None:
    root = INNER._replace(parent=None)
    assert echoes(root, outer(parent=None, trace_id="u")) == [None, 2]
    assert echoes(root, outer(parent=None, trace_id="u", sender="another tenant's")) == [None, None]
    theirs = root._replace(sender="another tenant's", trace_id="v", span_id=9)  # the same id of an answer, by chance
    assert echoes(root, theirs, outer(parent=None, trace_id="u")) == [None, None, 2]


def test_a_span_that_is_sent_again_stays_what_it_was() -> None:
    assert echoes(INNER, outer(), INNER, outer()) == [None, 2, None, 2]


def test_tokens_that_only_the_echo_reports_are_counted() -> None:
    assert echoes(INNER._replace(counted=False), outer()) == [None, None]


@given(st.integers(1, 50))
def test_memory_is_bounded(many: int) -> None:
    calls = Calls(remembered=8)
    for number in range(many):
        calls.original(INNER._replace(response=f"r{number}", span_id=number, parent=10_000 + number))
    assert max(len(calls._by_response), len(calls._by_parent)) <= 8
