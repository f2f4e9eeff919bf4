"""Messages that are valid Avro and, beyond that, what nobody should say: drawn from a schema, or an example spoiled."""

from typing import Any

from hypothesis import strategies as st
from spanloom_schemas import codec, topics

MOST = 2**63 - 1
NOW_MS = 1_795_000_005_000
_LONGS = st.sampled_from(
    [0, 1, -1, 2, 60, -(10**6), 10**4, 2**31, 2**40, MOST, -MOST, -MOST - 1, 10**18, 4 * 10**12, 4 * 10**15]
)
_LONGS |= st.sampled_from([NOW_MS, NOW_MS + 10**9, NOW_MS - 10**11, NOW_MS * 10**6, NOW_MS // 10_000 * 10_000])
_DOUBLES = st.sampled_from([0.0, -0.0, 1.0, -1e308, 1e308, float("inf"), float("-inf"), float("nan"), 5e-324])
_TEXTS = st.sampled_from(["", "llm", "error", "a\0b", "\u202e", "x judged=99 late=a/1/2", "n" * 300, "é" * 2_000])
_TEXTS |= st.text(max_size=3)


def values(avro: Any) -> st.SearchStrategy[Any]:
    """Any datum of an Avro type."""
    if isinstance(avro, list):
        return st.one_of([st.none() if branch == "null" else values(branch) for branch in avro])
    kind = avro if isinstance(avro, str) else avro["type"]
    if kind == "record":
        return st.fixed_dictionaries({field["name"]: values(field["type"]) for field in avro["fields"]})
    if kind == "array":
        return st.lists(values(avro["items"]), max_size=3)
    if kind == "enum":
        return st.sampled_from(avro["symbols"])
    return {
        "long": _LONGS,
        "int": st.sampled_from([0, 1, -1, 7, 4032, 2**20, 2**31 - 1, -(2**31)]),
        "double": _DOUBLES,
        "float": st.floats(width=32),
        "string": _TEXTS,
        "bytes": st.binary(max_size=3),
        "boolean": st.booleans(),
    }[kind]


@st.composite
def spoiled(draw: st.DrawFn, datum: Any, avro: Any) -> Any:
    """A datum of which one part, however deep, is any other."""
    if isinstance(avro, list) and datum is not None and draw(st.booleans()):
        return draw(spoiled(datum, next(branch for branch in avro if branch != "null")))
    if isinstance(avro, dict) and avro["type"] == "record" and isinstance(datum, dict):
        # What is last in a batch are its items: most of what there is to spoil.
        fields = [*avro["fields"], *([avro["fields"][-1]] * len(avro["fields"]))]
        field = draw(st.sampled_from(fields))
        return {**datum, field["name"]: draw(spoiled(datum.get(field["name"]), field["type"]))}
    if isinstance(avro, dict) and avro["type"] == "array" and datum and draw(st.integers(0, 3)):
        at = draw(st.integers(0, len(datum) - 1))
        return [*datum[:at], draw(spoiled(datum[at], avro["items"])), *datum[at + 1 :]]
    return draw(values(avro))


def messages(topic: str) -> st.SearchStrategy[bytes]:
    """A message of a topic: an example that is spoiled, once or twice, or nothing but nonsense."""
    schema = topics.load()[topic].schema
    avro = codec.newest(schema).source
    examples = st.sampled_from(topics.examples(topic))
    once = examples.flatmap(lambda datum: spoiled(datum, avro))
    twice = once.flatmap(lambda datum: spoiled(datum, avro))
    return st.one_of(once, once, twice, values(avro)).map(lambda datum: codec.encode(schema, datum))
