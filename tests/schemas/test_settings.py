import json
import logging
import pickle
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
from spanloom_schemas.settings import ClickHouseSettings, KafkaSettings, Secret, SettingsError, read

PORT = "a whole number of at least 1 and of at most 65535"


class Example(KafkaSettings, frozen=True, kw_only=True):
    metrics_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 9464
    ratio: float = 0.5
    disabled: bool = False
    mode: Literal["fast", "safe"] = "safe"
    webhook_token: Secret = Secret("")
    clickhouse: ClickHouseSettings = ClickHouseSettings()


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    ratio: float


def test_an_empty_environment_gives_the_defaults_and_an_empty_variable_is_unset() -> None:
    assert read(Example, {}) == Example() == read(Example, {"SPANLOOM_METRICS_PORT": "", "PATH": "/bin"})


def test_values_take_the_type_of_their_field_and_nested_settings_are_flat() -> None:
    env = {
        "SPANLOOM_METRICS_PORT": "1234",
        "SPANLOOM_RATIO": "2",
        "SPANLOOM_DISABLED": "true",
        "SPANLOOM_MODE": "fast",
        "SPANLOOM_KAFKA_BOOTSTRAP": "k:1",
        "SPANLOOM_CLICKHOUSE_URL": "http://c:2",
    }
    found = read(Example, env)
    assert (found.metrics_port, found.ratio, found.disabled, found.mode) == (1234, 2.0, True, "fast")
    assert (found.kafka_bootstrap, found.clickhouse.clickhouse_url) == ("k:1", "http://c:2")


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"SPANLOOM_METRICS_PORT": "http"}, f"SPANLOOM_METRICS_PORT is 'http': {PORT} is expected"),
        ({"SPANLOOM_METRICS_PORT": "0"}, f"SPANLOOM_METRICS_PORT is '0': {PORT} is expected"),
        ({"SPANLOOM_RATIO": "half"}, "SPANLOOM_RATIO is 'half': a number is expected"),
        ({"SPANLOOM_DISABLED": "perhaps"}, "SPANLOOM_DISABLED is 'perhaps': true or false is expected"),
        ({"SPANLOOM_MODE": "slow"}, "SPANLOOM_MODE is 'slow': one of fast, safe is expected"),
        ({"SPANLOOM_METRIC_PORT": "1"}, "SPANLOOM_METRIC_PORT is not a setting: did you mean SPANLOOM_METRICS_PORT?"),
        ({"SPANLOOM_ZZZZZZZZZZ": "1"}, "SPANLOOM_ZZZZZZZZZZ is not a setting: no installed package reads it"),
        (
            {"SPANLOOM_WEBHOOK_TOKEN": "a", "SPANLOOM_WEBHOOK_TOKEN_FILE": "b"},
            "SPANLOOM_WEBHOOK_TOKEN and SPANLOOM_WEBHOOK_TOKEN_FILE are both set: keep one",
        ),
        (
            {"SPANLOOM_WEBHOOK_TOKEN_FILE": "/no/such"},
            "SPANLOOM_WEBHOOK_TOKEN_FILE points to '/no/such', which cannot be read: No such file or directory",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_that_names_the_variable(env: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read(Example, env)
    assert str(raised.value) == said


def test_a_setting_without_a_default_is_asked_for() -> None:
    with pytest.raises(SettingsError, match="SPANLOOM_RATIO is not set: a number is expected"):
        read(Needs, {})


def test_fault_points_and_test_switches_are_no_unknown_settings() -> None:
    assert read(Example, {"SPANLOOM_FAULT": "sink.after_insert:1", "SPANLOOM_TEST_BACKEND": "docker"}) == Example()


def test_a_secret_may_come_from_a_file_and_shows_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "token").write_text("hunter2\n")
    found = read(Example, {"SPANLOOM_WEBHOOK_TOKEN_FILE": str(tmp_path / "token")})
    assert found.webhook_token.reveal() == "hunter2"
    logging.getLogger().warning("%s %r %s", found.webhook_token, found, [found.webhook_token])
    shown = f"{found} {found.webhook_token} {found.webhook_token:>20} {caplog.text}"
    assert "hunter2" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(found.webhook_token)
    with pytest.raises(TypeError):
        json.dumps(found.webhook_token)
    with pytest.raises(TypeError):
        msgspec.json.encode(found)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"SPANLOOM_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "USERNAME and SPANLOOM_KAFKA_SASL_PASSWORD .* must be set"),
        ({"SPANLOOM_KAFKA_SASL_USERNAME": "u"}, "SASL mechanism, user name and password would go unused"),
        ({"SPANLOOM_KAFKA_CA_FILE": "/ca"}, "certificate files would go unused and traffic unencrypted"),
    ],
)  # fmt: skip
def test_security_that_would_silently_not_be_used_is_refused(env: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read(KafkaSettings, env)


def test_librdkafka_gets_what_is_set_and_only_that() -> None:
    assert KafkaSettings().librdkafka() == {"bootstrap.servers": "127.0.0.1:9092", "security.protocol": "PLAINTEXT"}
    secure = KafkaSettings(
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="SCRAM-SHA-512",
        kafka_sasl_username="u",
        kafka_sasl_password=Secret("p"),
        kafka_ca_file="/ca.pem",
    )
    assert secure.librdkafka()["sasl.password"] == "p"
    assert secure.librdkafka()["ssl.ca.location"] == "/ca.pem"


def test_tls_without_a_usable_certificate_file_is_one_line_and_plaintext_has_no_context() -> None:
    assert KafkaSettings().ssl_context() is None
    assert KafkaSettings(kafka_security_protocol="SSL").ssl_context() is not None
    with pytest.raises(SettingsError, match="SPANLOOM_KAFKA_CA_FILE"):
        KafkaSettings(kafka_security_protocol="SSL", kafka_ca_file="/no/such").ssl_context()
