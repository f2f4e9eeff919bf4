from faust.types import TP
from spanloom_processors.commits import Commits, Point

A, B = TP("spans", 0), TP("spans", 1)


def test_what_was_not_declared_is_never_pending():
    commits = Commits()
    commits.known({A: Point(7, "from the broker")})
    assert commits.pending() == []
    assert commits.declared(A) is None


def test_a_declared_point_is_pending_until_the_broker_has_it():
    commits = Commits()
    commits.declare(A, Point(3, "x"))
    commits.declare(B, Point(5))
    assert set(commits.pending()) == {A, B}
    commits.done({A: Point(3, "x")})
    assert commits.pending() == [B]


def test_new_metadata_at_the_same_offset_is_pending_again():
    commits = Commits()
    commits.declare(A, Point(3, "frontier=10"))
    commits.done({A: Point(3, "frontier=10")})
    commits.declare(A, Point(3, "frontier=20"))
    assert commits.pending() == [A]


def test_a_point_declared_while_another_was_being_committed_stays_pending():
    commits = Commits()
    commits.declare(A, Point(3))
    commits.declare(A, Point(4))
    commits.done({A: Point(3)})
    assert commits.pending() == [A]


def test_a_partition_that_was_taken_away_leaves_nothing_to_commit():
    commits = Commits()
    commits.declare(A, Point(3))
    commits.forget([A, B])
    assert commits.pending() == []
    assert commits.committed(A) is None
