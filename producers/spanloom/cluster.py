"""Reaching a Kafka cluster, and saying why it cannot be reached.

librdkafka tells a wrong password, a wrong certificate and a wrong protocol apart only in its log lines; what it raises
in the end is "timed out". So the lines are listened to.
"""

import logging
import re
from time import monotonic
from typing import TYPE_CHECKING

from spanloom_schemas.settings import KafkaSettings

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

TIMEOUT_S = 15.0
GRACE_S = 3.0
"""How long what will hardly pass by itself may last: a broker that is just starting refuses for a moment."""

# What librdkafka says → what to do. The first that fits is right.
_ADVICE = (
    (
        r"certificate verify failed",
        "SPANLOOM_KAFKA_CA_FILE must hold the authority that signed the broker's certificate, which must name its host",
    ),
    (
        r"alert (certificate|bad cert|unknown ca|unsupported cert)",
        "it wants a certificate that it trusts: set SPANLOOM_KAFKA_CERT_FILE and SPANLOOM_KAFKA_KEY_FILE",
    ),
    (
        r"in state AUTH",
        "check SPANLOOM_KAFKA_SASL_USERNAME, SPANLOOM_KAFKA_SASL_PASSWORD and SPANLOOM_KAFKA_SASL_MECHANISM",
    ),
    (
        r"in state (APIVERSION_QUERY|SSL_HANDSHAKE)",
        "it seems to expect another SPANLOOM_KAFKA_SECURITY_PROTOCOL than {protocol}",
    ),
)
_SAID = re.compile(r"\]: \S+: (.{1,300}?)(?: \(after \d+ms in state .*)?$")


class ClusterError(Exception):
    """The cluster cannot be reached; the message is one line that says what to do."""


class Ear:
    """Takes librdkafka's log lines: to debug, of the logger `spanloom.kafka`; remembers what is wrong."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self.trouble = ""
        """What the last telling line told, and what to do about it; empty: none has come."""
        self.advice = ""
        """The second half of it alone."""
        self._protocol = kafka.kafka_security_protocol

    def log(self, level: int, message: str, *args: object) -> None:
        """Take one line."""
        line = message % args if args else message
        logging.getLogger("spanloom.kafka").debug("%s", line)
        found = next((advice for pattern, advice in _ADVICE if re.search(pattern, line)), self.advice)
        if found != self.advice:  # the same trouble comes in other words as well, with every attempt
            said = _SAID.search(line)
            self.advice = found
            self.trouble = f"{said[1] if said else line}; {found.format(protocol=self._protocol)}"


def connect(kafka: KafkaSettings, timeout: float = TIMEOUT_S) -> "AdminClient":
    """Return an administrative client of a cluster that answered.

    Raises ClusterError when it does not within `timeout` seconds, or sooner when it refuses; SettingsError when a
    certificate file cannot be used.
    """
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    kafka.ssl_context()
    ear = Ear(kafka)
    try:
        admin = AdminClient({**kafka.librdkafka(), "client.id": "spanloom"}, logger=ear)
    except KafkaException as error:
        raise ClusterError(f"Kafka at {kafka.kafka_bootstrap} cannot be asked: {error.args[0].str()}") from None
    answer = admin.describe_cluster(request_timeout=timeout)
    until = monotonic() + timeout
    while not answer.done() and monotonic() < until:
        admin.poll(0.05)
        if ear.trouble:
            until = min(until, monotonic() + GRACE_S)
    if answer.done() and answer.exception() is None:
        return admin
    if ear.trouble:
        raise ClusterError(f"Kafka at {kafka.kafka_bootstrap} cannot be used: {ear.trouble}")
    raise ClusterError(
        f"Kafka at {kafka.kafka_bootstrap} does not answer: start it (spanloom up) or set SPANLOOM_KAFKA_BOOTSTRAP"
    )
