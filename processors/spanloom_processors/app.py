"""The Faust application: its settings, and the consumer put in the place of Faust's own."""

from typing import Any

import faust
from faust.auth import SASLCredentials, SSLCredentials

from spanloom_processors.assignment import Owner, describe_topics
from spanloom_processors.consumer import Transport
from spanloom_processors.settings import ProcessorSettings

MEBIBYTE = 1 << 20
COMMIT_INTERVAL_S = 0.5
POLL_RECORDS = 200  # ~20 000 spans: a fold of a tenth of a second
POLLS_BUFFERED = 4
METADATA_MS = 10_000
"""How long it may take until partitions that are added, or a topic made anew, are noticed."""


class App(faust.App):  # type: ignore[misc]
    """A Faust application that crashes with its agents.

    What an agent raises is no matter of data (unreadable messages raise nothing). Faust would start the agent again
    behind the poll that raised; whoever supervises the process starts it again at the safe offsets.
    """

    async def _on_agent_error(self, agent: Any, exc: BaseException) -> None:
        await self.crash(exc)

    def _create_directories(self) -> None:
        """Make no folders: Faust keeps tables in them, and there are none."""


def credentials(settings: ProcessorSettings) -> Any:
    """What Faust needs for TLS and SASL.

    The TLS context is always explicit: given SASL credentials without one, Faust silently speaks plaintext.
    """
    context = settings.ssl_context()
    protocol = settings.kafka_security_protocol
    if protocol.startswith("SASL_"):
        return SASLCredentials(
            username=settings.kafka_sasl_username,
            password=settings.kafka_sasl_password.reveal(),
            mechanism=settings.kafka_sasl_mechanism,
            ssl_context=context,
        )
    return SSLCredentials(context=context) if protocol == "SSL" else None


def build(settings: ProcessorSettings, owner: Owner) -> App:
    """An application without agents, which asks `owner` where to read from. Call it inside the running event loop."""
    brokers = [f"kafka://{address.strip()}" for address in settings.kafka_bootstrap.split(",")]
    app = App(
        settings.processor_group,
        broker=brokers,
        broker_credentials=credentials(settings),
        broker_client_id=settings.processor_group,
        broker_commit_interval=COMMIT_INTERVAL_S,
        broker_heartbeat_interval=3.0,
        broker_max_poll_records=POLL_RECORDS,
        broker_session_timeout=10.0,
        broker_rebalance_timeout=30.0,
        broker_request_timeout=30.0,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=settings.processor_member or None,
        consumer_max_fetch_size=4 * MEBIBYTE,
        consumer_metadata_max_age_ms=METADATA_MS,
        key_serializer="raw",
        value_serializer="raw",
        producer_acks=-1,
        producer_compression_type="zstd",
        producer_max_batch_size=MEBIBYTE,
        producer_max_request_size=8 * MEBIBYTE,
        producer_metadata_max_age_ms=METADATA_MS,
        producer_request_timeout=30.0,
        stream_buffer_maxsize=POLLS_BUFFERED,
        stream_wait_empty=False,
        table_standby_replicas=0,  # with 0 and no tables Faust assigns partitions round robin
        topic_allow_declare=False,
        topic_disable_leader=True,
        autodiscover=False,
        web_enabled=False,
        worker_redirect_stdouts=False,
    )
    app.transport = Transport(
        app.conf.broker_consumer,
        app,
        owner=owner,
        describe=lambda topics: describe_topics(settings.librdkafka(), topics),
    )
    return app
