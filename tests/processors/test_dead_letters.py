import polars as pl
from faust.types import TP
from polars.exceptions import PanicException
from spanloom_processors import dead_letters
from spanloom_processors.consumer import Poll
from spanloom_schemas import codec, topics

BATCH = next(batch for batch in topics.examples("llm.spans") if batch["spans"])


class Record:
    def __init__(self, offset: int, value: bytes | None, key: bytes | None = None) -> None:
        self.offset, self.timestamp, self.value, self.key = offset, 1000 + offset, value, key


def messages(*values: bytes) -> list[tuple[int, int, bytes]]:
    return [(offset, 1000 + offset, value) for offset, value in enumerate(values)]


def good(sequence: int) -> bytes:
    return codec.encode("span_batch", {**BATCH, "sequence": sequence})


def sequences(read) -> list[int]:
    return [sequence for decoded, _ in read for sequence in decoded.headers["sequence"]]


def test_messages_around_an_unreadable_one_are_read():
    read, dead = dead_letters.read("span_batch", messages(good(0), b"junk", good(2)), lambda decoded: None)
    assert sequences(read) == [0, 2]
    assert [(each.offset, each.log_time, each.reason, each.value) for each in dead] == [
        (1, 1001, "not_framed", b"junk")
    ]


def test_a_message_whose_content_raises_is_dead_and_harms_no_other():
    def derive(decoded):
        if 2 in decoded.headers["sequence"].to_list():
            raise PanicException("polars gave up")
        return decoded.rows.height

    poison = good(2)
    values = [good(0), good(1), poison, b"junk", good(4), good(5)]
    read, dead = dead_letters.read("span_batch", messages(*values), derive)
    assert sequences(read) == [0, 1, 4, 5]
    assert sum(height for _, height in read) == 4 * len(BATCH["spans"])
    assert [(each.offset, each.reason, each.value) for each in sorted(dead, key=lambda each: each.offset)] == [
        (2, "unprocessed", poison),
        (3, "not_framed", b"junk"),
    ]


def test_a_letter_says_where_the_message_was_and_holds_all_of_it():
    poll = Poll(TP("llm.spans", 3), [Record(7, b"junk", b"key"), Record(8, None)], 9)
    _, dead = dead_letters.read("span_batch", poll.messages, lambda decoded: None)
    first, second = dead_letters.letters(poll, "topic-id", dead)
    assert (first.topic, first.key) == ("llm.dead_letters", b"llm.spans:3:7")
    assert codec.decode(first.value)[2] == {
        "topic": "llm.spans", "topic_id": "topic-id", "partition": 3, "offset": 7, "log_time": 1007,
        "stage": "processor", "reason": "not_framed", "error": dead[0].error, "key": b"key", "value": b"junk",
    }  # fmt: skip
    assert codec.decode(second.value)[2]["value"] == b""


def test_nothing_to_read_is_read():
    read, dead = dead_letters.read("span_batch", [], lambda decoded: decoded.rows)
    assert dead == []
    assert [isinstance(rows, pl.DataFrame) and rows.height for _, rows in read] == [0]
