import pytest
from spanloom_schemas.partitioning import murmur2, partition


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_murmur2_is_the_java_clients(key: str, hashed: int) -> None:
    """The values of Kafka's own UtilsTest."""
    assert murmur2(key.encode()) == hashed & 0xFFFFFFFF


def test_a_trace_has_one_partition_and_traces_spread_over_all() -> None:
    found = [partition(f"{n:032x}", 4) for n in range(1000)]
    assert found == [partition(f"{n:032x}", 4) for n in range(1000)]
    assert all(200 < found.count(number) < 300 for number in range(4))
