"""Faust as Spanloom sets it up."""

import asyncio
import ssl

import pytest
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from spanloom_processors.app import build, credentials
from spanloom_processors.settings import ProcessorSettings
from spanloom_schemas.settings import Secret

SASL = {
    "kafka_sasl_mechanism": "SCRAM-SHA-512",
    "kafka_sasl_username": "processor",
    "kafka_sasl_password": Secret("hush"),
}


def auth(**settings):
    return credentials_to_aiokafka_auth(credentials(ProcessorSettings(**settings)))


@pytest.mark.parametrize(("protocol", "more"), [("SSL", {}), ("SASL_SSL", SASL)])
def test_with_tls_the_context_that_verifies_certificates_reaches_the_client(protocol, more):
    found = auth(kafka_security_protocol=protocol, **more)
    assert found["security_protocol"] == protocol
    assert found["ssl_context"].verify_mode is ssl.CERT_REQUIRED
    assert found["ssl_context"].check_hostname


@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT"])
def test_sasl_credentials_reach_the_client(protocol):
    found = auth(kafka_security_protocol=protocol, **SASL)
    assert found["security_protocol"] == protocol
    assert found["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (found["sasl_plain_username"], found["sasl_plain_password"]) == ("processor", "hush")


def test_plaintext_is_plaintext():
    assert auth() == {"security_protocol": "PLAINTEXT"}


def test_faust_opens_no_port_declares_no_topic_and_keeps_no_table():
    async def conf():
        return build(ProcessorSettings(processor_member="one"), owner=None).conf

    found = asyncio.run(conf())
    assert not found.web_enabled
    assert not found.topic_allow_declare
    assert found.table_standby_replicas == 0
    assert found.consumer_group_instance_id == "one"
    assert (found.broker_session_timeout, found.broker_heartbeat_interval) == (10.0, 3.0)
    assert found.producer_acks == -1
    assert found.processing_guarantee.name == "AT_LEAST_ONCE"
