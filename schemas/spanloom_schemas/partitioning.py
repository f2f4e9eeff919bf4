"""The partition of a trace: murmur2 of its id, as the Java client's default partitioner has it.

All spans of a trace meet in one partition, whatever client and language sent them, as long as the key is the trace id
in 32 lower-case hexadecimal characters. Source: `org.apache.kafka.common.utils.Utils.murmur2`.
"""

_M = 0x5BD1E995
_SEED = 0x9747B28C
_MASK = 0xFFFFFFFF


def partition(trace_id: str, partitions: int) -> int:
    """Partition of 0 … partitions-1 for a trace id (32 lower-case hexadecimal characters)."""
    return (murmur2(trace_id.encode()) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """MurmurHash2 of 32 bits with Kafka's seed, as an unsigned number."""
    length = len(data)
    whole = length & ~3
    h = (_SEED ^ length) & _MASK
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        k = (k ^ (k >> 24)) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if tail := data[whole:]:
        h = (h ^ int.from_bytes(tail, "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return h ^ (h >> 15)
