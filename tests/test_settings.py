"""Settings classes and subcommands of all packages, against an environment with secrets and with mistakes."""

import logging
import shlex
from collections.abc import Iterator
from importlib.metadata import entry_points

import click
import msgspec
import pytest
from click.testing import CliRunner
from spanloom.cli import GROUP, spanloom
from spanloom_schemas.settings import ENTRY_POINTS, Secret, SettingsError, check, read, variables

CLASSES = {point.name: point.load() for point in entry_points(group=ENTRY_POINTS)}
HIDDEN = "0123456789abcdef0123456789abcdef"
SECURE = {"SPANLOOM_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "SPANLOOM_KAFKA_SASL_MECHANISM": "PLAIN"}
SECURE |= {"SPANLOOM_KAFKA_SASL_USERNAME": "ann"}


def secrets(cls: type[msgspec.Struct]) -> set[str]:
    names = set(variables(cls))
    return {name for name in names if f"{name}_FILE" in names}


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("suffix", ["", "_FILE"])
def test_no_secret_shows_in_any_text_of_any_settings(
    name: str, suffix: str, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    cls = CLASSES[name]
    file = tmp_path_factory.mktemp("secrets") / "secret"
    file.write_text(HIDDEN + "\n")
    hidden = secrets(cls)
    assert hidden
    settings = read(cls, SECURE | {f"{secret}{suffix}": str(file) if suffix else HIDDEN for secret in hidden})
    revealed = [value for value in walk(settings) if isinstance(value, Secret) and value.reveal() == HIDDEN]
    assert len(revealed) == len(hidden)
    with caplog.at_level(logging.DEBUG):
        logging.debug("%s %r %s", settings, settings, msgspec.structs.asdict(settings))
    try:
        raise ValueError(settings)
    except ValueError as error:
        said = f"{error} {error!r} {settings} {settings!r} {msgspec.structs.astuple(settings)} {caplog.text}"
    assert HIDDEN not in said


def walk(settings: msgspec.Struct) -> Iterator[object]:
    for value in msgspec.structs.astuple(settings):
        yield from walk(value) if isinstance(value, msgspec.Struct) else (value,)


@pytest.mark.parametrize("name", CLASSES)
def test_what_is_called_like_a_secret_is_one(name: str) -> None:
    hidden = {f"{secret}{end}" for secret in secrets(CLASSES[name]) for end in ("", "_FILE")}
    plain = set(variables(CLASSES[name])) - hidden
    suspicious = {n for n in plain if any(word in n for word in ("PASSWORD", "SECRET", "TOKEN", "PEPPER", "KEY"))}
    assert suspicious <= {f"SPANLOOM_{path}" for path in ("KAFKA_KEY_FILE", "GATEWAY_KEYS_FILE", "GATEWAY_KEY_FILE")}


@pytest.mark.parametrize(
    "variable", ["SPANLOOM_CLICKHOUSE_URL", "SPANLOOM_SCHEMA_REGISTRY_URL", "SPANLOOM_PAGERDUTY_URL"]
)
def test_a_password_in_a_url_is_refused_and_not_repeated(variable: str) -> None:
    with pytest.raises(SettingsError) as raised:
        check({variable: f"http://ann:{HIDDEN}@host/"})
    assert str(raised.value).startswith(f"{variable} is not a URL")
    assert HIDDEN not in str(raised.value)


def commands(group: click.Group, *before: str) -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)
        elif command is not None:
            arguments = [f"{'0' * 32}" for param in command.params if isinstance(param, click.Argument)]
            yield shlex.join([*before, name, *arguments])


@pytest.mark.parametrize("line", [*commands(spanloom)])
@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SPANLOOM_KAFKA_BOOTSTRP", HIDDEN, "SPANLOOM_KAFKA_BOOTSTRP is not a setting: did you mean SPANLOOM_KAFKA_"),
        ("SPANLOOM_XYZ", HIDDEN, "SPANLOOM_XYZ is not a setting: no installed package reads it"),
        ("SPANLOOM_METRICS_PORT", "high", "SPANLOOM_METRICS_PORT is 'high': a whole number of at least 0"),
        ("SPANLOOM_KAFKA_BOOTSTRAP", "kafka://a", "SPANLOOM_KAFKA_BOOTSTRAP is not host:port, or several"),
        ("SPANLOOM_CLICKHOUSE_URL", "localhost:8123", "SPANLOOM_CLICKHOUSE_URL is not a URL that begins with http"),
    ],
)  # fmt: skip
def test_every_command_refuses_a_variable_that_nobody_can_use(line: str, variable: str, value: str, said: str) -> None:
    done = CliRunner().invoke(spanloom, shlex.split(line), env={variable: value})
    assert isinstance(done.exception, SettingsError)  # which `main` says in one line, with exit code 1
    assert str(done.exception).startswith(said)
    assert "\n" not in str(done.exception)
    assert HIDDEN not in str(done.exception)
    assert done.output == ""


def test_every_member_has_commands_and_settings() -> None:
    assert {line.split()[0] for line in commands(spanloom)} == {point.name for point in entry_points(group=GROUP)}
    assert {"producer", "gateway", "probe", "processors", "sink", "verify", "viewer", "stack"} == set(CLASSES)


@pytest.mark.parametrize("line", [*commands(spanloom)])
def test_every_command_says_what_it_does_and_what_its_options_are_for(line: str) -> None:
    command: click.Command = spanloom
    for word in shlex.split(line):
        if isinstance(command, click.Group):
            found = command.get_command(click.Context(command), word)
            assert found is not None
            command = found
    assert command.help
    assert all(param.help for param in command.params if isinstance(param, click.Option))
