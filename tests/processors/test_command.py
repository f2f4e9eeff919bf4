"""What a person sees who starts a worker wrongly: one line that says what to do."""

import socket
import time

import pytest
from click.testing import CliRunner
from confluent_kafka.admin import NewPartitions
from spanloom_processors.commands import _route as route
from spanloom_processors.commands import processor
from spanloom_processors.delivery.pagerduty import URL, PagerDuty
from spanloom_processors.settings import ProcessorSettings
from spanloom_schemas import topics
from spanloom_schemas.settings import Secret


def run(**environment: str) -> tuple[int, str]:
    done = CliRunner().invoke(processor, env={"SPANLOOM_METRICS_PORT": "0", **environment})
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"SPANLOOM_METRICS_PORT": "http"}, "SPANLOOM_METRICS_PORT"),
        ({"SPANLOOM_WATCHDOG_S": "0"}, "SPANLOOM_WATCHDOG_S"),
        ({"SPANLOOM_PROCESSOR_GRUOP": "x"}, "SPANLOOM_PROCESSOR_GROUP"),
        ({"SPANLOOM_RULES_FILE": "/nowhere/rules.yaml"}, "SPANLOOM_RULES_FILE is /nowhere/rules.yaml: No such file"),
        ({"SPANLOOM_RULES_FILE": __file__}, f"SPANLOOM_RULES_FILE is {__file__}: "),
        (
            {"SPANLOOM_PRICES_FILE": "/nowhere/prices.yaml"},
            "SPANLOOM_PRICES_FILE: the prices file /nowhere/",
        ),
        ({"SPANLOOM_ALERTMANAGER_URL": "alertmanager:9093"}, "SPANLOOM_ALERTMANAGER_URL"),
        ({"SPANLOOM_PAGERDUTY_URL": "pagerduty"}, "SPANLOOM_PAGERDUTY_URL"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_in_one_line(environment, said):
    code, output = run(**environment)
    assert code == 1
    assert said in output
    assert len(output.strip().splitlines()) == 1


def test_pages_go_where_the_settings_say(monkeypatch):
    urls = []
    monkeypatch.setattr(PagerDuty, "__init__", lambda pager, key, url: urls.append(url))
    key = Secret("0123456789abcdef0123456789abcdef")
    route(ProcessorSettings(pagerduty_routing_key=key, pagerduty_url="http://127.0.0.1:1/v2/enqueue"))
    route(ProcessorSettings(pagerduty_routing_key=key))
    assert urls == ["http://127.0.0.1:1/v2/enqueue", URL]


def test_missing_topics_are_named_in_one_line(bare):
    code, output = run(SPANLOOM_KAFKA_BOOTSTRAP=bare)
    assert code == 1
    assert "spanloom topics create" in output
    assert len(output.strip().splitlines()) == 1


def test_fewer_partitions_of_traces_than_of_spans_are_named_in_one_line(line, admin):
    spans = topics.load()["llm.spans"].partitions
    admin.create_partitions([NewPartitions("llm.spans", spans + 2)])["llm.spans"].result(20)
    while len(admin.list_topics("llm.spans", timeout=20).topics["llm.spans"].partitions) == spans:
        time.sleep(0.1)
    code, output = run(SPANLOOM_KAFKA_BOOTSTRAP=line)
    assert code == 1
    assert f"llm.spans has {spans + 2} partitions and llm.traces {spans}: give it {spans + 2} too" in output
    assert len(output.strip().splitlines()) == 1


def test_a_taken_port_is_named_in_one_line(line):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, output = run(SPANLOOM_KAFKA_BOOTSTRAP=line, SPANLOOM_METRICS_PORT=str(port))
    assert code == 1
    assert f"127.0.0.1:{port}" in output
    assert "SPANLOOM_METRICS_PORT" in output
    assert len(output.strip().splitlines()) == 1
