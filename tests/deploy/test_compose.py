"""What can be said of the files for containers without a container."""

import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml
from spanloom.gateway.keys import load
from spanloom_schemas.settings import variables
from spanloom_stack import jars

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
FILES = DEPLOY / "compose"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    return dict(compose["services"])


# The compose specification's keys, as far as this file uses them: a misspelt one would be refused only by Docker.
KEYS = {
    *("image", "build", "restart", "environment", "command", "depends_on", "ports", "expose", "volumes"),
    *("healthcheck", "ulimits"),
}


def test_every_service_has_only_keys_of_the_compose_specification(compose: dict[str, Any]) -> None:
    assert {key for key in compose if not key.startswith("x-")} == {"name", "services", "volumes"}
    for name, service in compose["services"].items():
        assert service.keys() <= KEYS, name
        assert "image" in service, name
        assert set(service.get("healthcheck", ())) <= {"test", "interval", "timeout", "retries"}, name


def test_every_image_is_pinned_to_a_full_version(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+(\.\d+)?", service["image"]), name
    bases = re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", bases[0])


def test_the_broker_is_the_embedded_ones_version(services: dict[str, Any]) -> None:
    (embedded,) = {pin.split(":")[2] for pin in jars.read() if pin.startswith("org.apache.kafka:")}
    assert services["kafka"]["image"] == f"apache/kafka:{embedded}"


def test_nothing_is_published_beyond_this_machine(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", ())]
    assert len(published) == len(set(published)) > 0
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_what_a_service_waits_for_exists_and_can_be_waited_for(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for other, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in services[other], (name, other)
            else:
                assert wait["condition"] == "service_completed_successfully"
                assert services[other]["restart"] == "no", (name, other)


def test_every_volume_is_declared_or_a_file_that_is_there(compose: dict[str, Any], services: dict[str, Any]) -> None:
    mounted = [volume.split(":") for service in services.values() for volume in service.get("volumes", ())]
    for source, *_ in mounted:
        assert (DEPLOY / source).exists() if source.startswith(".") else source in compose["volumes"], source
    assert {source for source, *_ in mounted if not source.startswith(".")} == set(compose["volumes"])


def test_every_setting_given_to_a_spanloom_service_is_one(services: dict[str, Any]) -> None:
    known = {name for point in entry_points(group="spanloom.settings") for name in variables(point.load())}
    given = {name for service in services.values() for name in service.get("environment", {})}
    assert {name for name in given if name.startswith("SPANLOOM_")} <= known


def test_every_command_is_a_subcommand(services: dict[str, Any]) -> None:
    commands = {point.name for point in entry_points(group="spanloom.commands")}
    ran = set(re.findall(r"\bspanloom\W+(\w+)", str([service.get("command") for service in services.values()])))
    assert ran == {"processor", "sink", "gateway", "migrate", "topics"}
    assert ran <= commands


def test_the_gateway_s_key_is_the_one_that_the_documents_name() -> None:
    keys = load(str(FILES / "gateway/keys.yaml"))
    assert keys.needed
    assert keys.find("spanloom") is not None


def test_what_is_scraped_is_a_service_that_exposes_the_port(services: dict[str, Any]) -> None:
    scraped = yaml.safe_load((FILES / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    groups = [group for job in scraped for group in job.get("static_configs", ())]
    targets = [target for group in groups for target in group["targets"]]
    for target in targets:
        host, port = target.split(":")
        assert host == "localhost" or port in services[host]["expose"], target


def test_everything_that_has_metrics_is_scraped(services: dict[str, Any]) -> None:
    """A probe runs on machines that are not the file's: whoever has some names them in a file."""
    said = re.findall(r"\w+_METRICS_PORT` \((\d+)\)", (DEPLOY.parent / "docs/metrics.md").read_text())
    jobs = yaml.safe_load((FILES / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    named = {job["job_name"]: job for job in jobs}
    ports = {
        name: job["static_configs"][0]["targets"][0].split(":")[1]
        for name, job in named.items()
        if "static_configs" in job
    }
    assert set(said) - set(ports.values()) == {"9466"}
    (read,) = [path for each in named["spanloom-probe"]["file_sd_configs"] for path in each["files"]]
    assert yaml.safe_load((FILES / "prometheus" / read).read_text()) == [{"targets": []}]


def test_an_alert_leaves_at_once() -> None:
    assert yaml.safe_load((FILES / "alertmanager/alertmanager.yml").read_text())["route"]["group_wait"] == "0s"


def test_the_reader_only_reads_and_the_default_user_is_gone() -> None:
    users = ElementTree.parse(FILES / "clickhouse/users.d/spanloom.xml").getroot()
    assert users.findtext("profiles/reader/readonly") == "1"
    assert users.findtext("users/reader/profile") == "reader"
    default = users.find("users/default")
    assert default is not None
    assert default.get("remove") == "1"
    grants = [query.text or "" for query in users.findall("users/reader/grants/query")]
    assert grants
    assert all(re.fullmatch(r"GRANT SELECT(, SHOW)? ON (spanloom|system)\.\*", grant) for grant in grants)


def test_the_readers_of_both_engines_may_set_the_same() -> None:
    from spanloom_stack.asking import READER_SETTINGS

    users = ElementTree.parse(FILES / "clickhouse/users.d/spanloom.xml").getroot()
    constraints = users.find("profiles/reader/constraints")
    assert constraints is not None
    assert {limit.tag for limit in constraints} == READER_SETTINGS


def test_no_file_for_containers_names_a_registry_or_an_address() -> None:
    for path in [
        DEPLOY / "compose.yaml",
        DEPLOY / "Dockerfile",
        *(path for path in FILES.rglob("*") if path.is_file()),
    ]:
        for host in re.findall(r"https?://([^:/\s\"]+)", path.read_text()):
            assert host in {"127.0.0.1", "kafka", "clickhouse", "alertmanager", "prometheus"}, path


def tool(name: str, *arguments: str) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed: sh deploy/install-tools.sh brings it on Debian")
    done = subprocess.run([name, *arguments], capture_output=True, text=True, cwd=FILES, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_configuration_and_the_rules() -> None:
    tool("promtool", "check", "config", "prometheus/prometheus.yml")
    files = ["prometheus/rules.yml", "prometheus/applications.yml"]
    tool("promtool", "check", "rules", "--lint=all", "--lint-fatal", *files)


def test_what_goes_wrong_in_spanloom_is_an_alert_and_what_is_well_is_none() -> None:
    tool("promtool", "test", "rules", "prometheus/rules_test.yml")


def test_what_goes_wrong_in_applications_is_an_alert_and_what_is_well_is_none() -> None:
    tool("promtool", "test", "rules", "prometheus/applications_test.yml")


def test_amtool_accepts_the_configuration() -> None:
    tool("amtool", "check-config", "alertmanager/alertmanager.yml")


def test_docker_compose_accepts_the_file() -> None:
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True) if shutil.which("docker") else None
    if plugin is None or plugin.returncode:
        pytest.skip("docker's compose plugin is not installed")
    tool("docker", "compose", "-f", str(DEPLOY / "compose.yaml"), "config", "--quiet")


def test_installing_the_tools_where_they_cannot_be_is_no_error(tmp_path: Path) -> None:
    sh = shutil.which("sh")
    assert sh is not None
    (tmp_path / "printf").symlink_to(shutil.which("printf") or "/usr/bin/printf")
    done = subprocess.run(
        [sh, str(DEPLOY / "install-tools.sh")],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": str(tmp_path)},
    )
    assert done.returncode == 0
    assert "the tests that need them will skip" in done.stderr
