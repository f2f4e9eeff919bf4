import logging

import pytest
from spanloom.cluster import Ear
from spanloom_schemas.settings import KafkaSettings

LINE = "FAIL [rdkafka#producer-1] [thrd:sasl_ssl://k:1/bootstrap]: sasl_ssl://k:1/bootstrap: {} (after 9ms in state {})"


@pytest.mark.parametrize(
    ("said", "state", "named"),
    [
        ("SASL authentication error: Authentication failed", "AUTH_REQ", "SPANLOOM_KAFKA_SASL_PASSWORD"),
        ("SSL handshake failed: certificate verify failed: x", "SSL_HANDSHAKE", "SPANLOOM_KAFKA_CA_FILE"),
        ("Receive failed: tlsv13 alert certificate required", "APIVERSION_QUERY", "SPANLOOM_KAFKA_CERT_FILE"),
        ("Disconnected: connection closed by peer", "APIVERSION_QUERY", "SPANLOOM_KAFKA_SECURITY_PROTOCOL"),
    ],
)
def test_what_librdkafka_says_becomes_what_to_do(said: str, state: str, named: str) -> None:
    ear = Ear(KafkaSettings())
    ear.log(logging.INFO, LINE.format(said, state))
    assert ear.trouble.startswith(f"{said}; ")
    assert named in ear.trouble
    before = ear.trouble
    ear.log(logging.INFO, LINE.format(f"{said} again", state))
    assert ear.trouble == before


def test_a_broker_that_is_away_is_no_trouble_with_settings() -> None:
    ear = Ear(KafkaSettings())
    ear.log(logging.ERROR, LINE.format("Connect to ipv4#k:1 failed: Connection refused", "CONNECT"))
    assert (ear.trouble, ear.advice) == ("", "")
