"""What a fetch may unfold to: aiokafka decompresses a batch whole, however large, and hands over polls by count alone.

A batch of 12 kB can hold 400 MB of zeros, and the broker takes it. So decompression is bounded here; a batch beyond the
bound is handed over as one message whose value is the batch as the log holds it (`Packed`), to be a dead letter. And a
poll ends at a number of bytes, not only of messages. aiokafka 0.14; tests/processors/test_batches.py guards.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import cramjam
from aiokafka.consumer import fetcher
from aiokafka.record import default_records as plain
from aiokafka.record._crecords import default_records as compiled

BATCH_BYTES = 32 << 20
"""A batch that unfolds to more is refused; producers make batches of 1 MB."""
POLL_BYTES = 8 << 20
"""A poll is handed over when it holds so much; one message may pass it."""
_HEADER = 12  # base offset and length, in front of what the length counts


class Packed(bytes):
    """A batch that was not unfolded, as it is in the log. `first`: the offset of the first of its messages."""

    first: int


class TooLarge(Exception):
    """A compressed batch unfolds to more than BATCH_BYTES, or not at all."""


def guard() -> None:
    """Put the bounds into aiokafka, for this process; to do it again changes nothing."""
    for module in (plain, compiled):
        module.gzip_decode, module.snappy_decode = _gunzip, _unsnap
        module.lz4_decode, module.zstd_decode = _filled(cramjam.lz4), _filled(cramjam.zstd)
    fetcher.MemoryRecords = _Batches
    fetcher.FetchResult = _Fetched


def _filled(codec: Any) -> Callable[[bytes], bytes]:
    """A decoder into a buffer that grows to the bound and no further."""

    def decode(data: bytes) -> bytes:
        size = max(4 * len(data), 1 << 16)
        while True:
            size = min(size, BATCH_BYTES)
            buffer = bytearray(size)
            try:
                length = codec.decompress_into(data, buffer)
            except cramjam.DecompressionError as error:
                if size == BATCH_BYTES:
                    raise TooLarge from error
                size *= 8
            else:
                return bytes(memoryview(buffer)[:length])

    return decode


def _gunzip(data: bytes) -> bytes:
    try:
        found = zlib.decompressobj(wbits=31).decompress(data, BATCH_BYTES + 1)
    except zlib.error as error:
        raise TooLarge from error
    if len(found) > BATCH_BYTES:
        raise TooLarge
    return found


def _unsnap(data: bytes) -> bytes:
    """A raw block, or Xerial's stream: 16 bytes, then blocks, each with its length in front."""
    parts, total = [], 0
    for block in _snappy_blocks(data):
        try:
            total += cramjam.snappy.decompress_raw_len(block)
            if total > BATCH_BYTES:
                raise TooLarge
            parts.append(bytes(cramjam.snappy.decompress_raw(block)))
        except cramjam.DecompressionError as error:
            raise TooLarge from error
    return b"".join(parts)


def _snappy_blocks(data: bytes) -> Iterator[bytes]:
    if not data.startswith(b"\x82SNAPPY\0"):
        yield data
        return
    at = 16
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 4 + size]
        at += 4 + size


class _Record(NamedTuple):
    """What aiokafka asks of a record."""

    offset: int
    timestamp: int
    value: Packed
    key: None = None
    timestamp_type: int = 1
    checksum: None = None
    headers: tuple[()] = ()


class _Batch:
    """A batch that, where it cannot be unfolded, is one record at its last offset: reading goes on behind it."""

    def __init__(self, batch: Any, raw: bytes) -> None:
        self._batch, self._raw = batch, raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(self._batch)
        except TooLarge:
            packed = Packed(self._raw)
            packed.first = self._batch.base_offset
            return iter([_Record(self._batch.next_offset - 1, self._batch.max_timestamp, packed)])

    def __next__(self) -> Any:
        return next(self._batch)


class _Batches:
    """The batches of a partition's share of a fetch."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        self._records = _MEMORY_RECORDS(data)

    def has_next(self) -> bool:
        return bool(self._records.has_next())

    def next_batch(self) -> _Batch:
        begin = self._at
        self._at += _HEADER + int.from_bytes(self._data[begin + 8 : begin + _HEADER], "big")
        return _Batch(self._records.next_batch(), self._data[begin : self._at])

    def size_in_bytes(self) -> int:
        return int(self._records.size_in_bytes())


_MEMORY_RECORDS, _FETCH_RESULT = fetcher.MemoryRecords, fetcher.FetchResult


class _Fetched(_FETCH_RESULT):  # type: ignore[misc, valid-type]
    """A fetched partition of which as much is handed over as a poll may hold."""

    _partition_records: Any

    def getall(self, max_records: int | None = None) -> list[Any]:
        if not self.check_assignment(self._topic_partition) or not self.has_more():
            return []
        found: list[Any] = []
        size = 0
        for record in self._partition_records:
            found.append(record)
            size += len(record.value or b"")
            if size >= POLL_BYTES or len(found) == max_records:
                self._update_position()
                return found
        self._update_position()
        self._partition_records = None
        return found
