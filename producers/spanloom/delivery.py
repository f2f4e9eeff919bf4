"""How librdkafka is to deliver, and what it is called when it could not."""

from confluent_kafka import KafkaError

LIBRDKAFKA = {
    "client.id": "spanloom",
    "enable.idempotence": True,
    "acks": "all",
    "compression.type": "zstd",
    "linger.ms": 5,
    "message.timeout.ms": 30_000,
    "queue.buffering.max.kbytes": 32 * 1024,
    "message.max.bytes": 1_000_000,
    "reconnect.backoff.max.ms": 5_000,
}
REASONS = {
    KafkaError._MSG_TIMED_OUT: "timeout",
    KafkaError._TIMED_OUT: "timeout",
    KafkaError.REQUEST_TIMED_OUT: "timeout",
    KafkaError._TRANSPORT: "unreachable",
    KafkaError._ALL_BROKERS_DOWN: "unreachable",
    KafkaError._RESOLVE: "unreachable",
    KafkaError._SSL: "unreachable",
    KafkaError._AUTHENTICATION: "unreachable",
    KafkaError.MSG_SIZE_TOO_LARGE: "too_large",
    KafkaError._QUEUE_FULL: "queue_full",
    KafkaError._PURGE_QUEUE: "shutdown",
    KafkaError._PURGE_INFLIGHT: "shutdown",
}
"""Reasons of a drop, as the ledger counts them; any other error is `rejected`."""


def reason_of(error: KafkaError) -> str:
    """Return why a delivery failed, in a word of the ledger."""
    return REASONS.get(error.code(), "rejected")
