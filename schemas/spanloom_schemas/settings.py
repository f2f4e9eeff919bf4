"""Settings from the environment: one frozen, typed class a package, one-line errors that name the variable.

A class is a frozen, keyword-only `msgspec.Struct`; the field `metrics_port: int = 9464` is read from
`SPANLOOM_METRICS_PORT`.
A field whose type is itself a settings class is read from the same, flat variables (a struct has one base, so a
service that needs Kafka and ClickHouse inherits one and holds the other).
"""

import difflib
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec

PREFIX = "SPANLOOM_"
ENTRY_POINTS = "spanloom.settings"
_EXEMPT = ("SPANLOOM_FAULT", "SPANLOOM_TEST_")
_EXPECTED = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}

T = TypeVar("T", bound=msgspec.Struct)


class SettingsError(ValueError):
    """The environment cannot be used; the message is one line that names the variable and what is expected."""


class Secret:
    """A text that no repr, format or log shows; `reveal()` is the only way to it. An empty one is false."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the call that needs it."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret('***')" if self._text else "Secret('')"

    def __str__(self) -> str:
        return repr(self)

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")


_HOST = r"(\[[0-9A-Fa-f:.]+\]|[^\s,:/@\[\]]+)(:\d{1,5})?"
Hosts = Annotated[
    str,
    msgspec.Meta(pattern=rf"^({_HOST}(\s*,\s*{_HOST})*)?$", description="host:port, or several with commas between"),
]
"""Addresses without a scheme."""
HttpUrl = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(https?://[^\s/?#@]+([/?#]\S*)?)?$",
        description="a URL that begins with http:// or https:// and holds no user name or password",
    ),
]
"""A URL that may be shown: whoever asks it has user name and password, if there are any, in settings of their own."""


class KafkaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How every Kafka client of Spanloom reaches the cluster."""

    kafka_bootstrap: Hosts = "127.0.0.1:9092"
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = ""
    kafka_sasl_username: str = ""
    kafka_sasl_password: Secret = Secret("")
    kafka_ca_file: str = ""
    kafka_cert_file: str = ""
    kafka_key_file: str = ""
    schema_registry_url: HttpUrl = ""
    """Empty: single-object framing; else Confluent's wire format with the ids of this registry."""
    schema_registry_user: str = ""
    schema_registry_password: Secret = Secret("")

    def __post_init__(self) -> None:
        """Refuse what would silently go unencrypted or unauthenticated."""
        sasl = self.kafka_security_protocol.startswith("SASL_")
        if sasl and not (self.kafka_sasl_mechanism and self.kafka_sasl_username and self.kafka_sasl_password):
            raise SettingsError(
                f"SPANLOOM_KAFKA_SECURITY_PROTOCOL is {self.kafka_security_protocol}: SPANLOOM_KAFKA_SASL_MECHANISM, "
                "SPANLOOM_KAFKA_SASL_USERNAME and SPANLOOM_KAFKA_SASL_PASSWORD (or its _FILE) must be set"
            )
        if not sasl and (self.kafka_sasl_mechanism or self.kafka_sasl_username or self.kafka_sasl_password):
            raise SettingsError(
                f"SPANLOOM_KAFKA_SECURITY_PROTOCOL is {self.kafka_security_protocol}, so the SASL mechanism, user name "
                "and password would go unused: set it to SASL_SSL (or SASL_PLAINTEXT)"
            )
        files = self.kafka_ca_file or self.kafka_cert_file or self.kafka_key_file
        if not self.kafka_security_protocol.endswith("SSL") and files:
            raise SettingsError(
                f"SPANLOOM_KAFKA_SECURITY_PROTOCOL is {self.kafka_security_protocol}, so the certificate files would "
                "go unused and traffic unencrypted: set it to SSL or SASL_SSL"
            )

    def librdkafka(self) -> dict[str, str]:
        """Configuration of a confluent-kafka client; it holds the password in clear, so never log it."""
        said = {
            "bootstrap.servers": self.kafka_bootstrap,
            "security.protocol": self.kafka_security_protocol,
            "sasl.mechanism": self.kafka_sasl_mechanism,
            "sasl.username": self.kafka_sasl_username,
            "sasl.password": self.kafka_sasl_password.reveal(),
            "ssl.ca.location": self.kafka_ca_file,
            "ssl.certificate.location": self.kafka_cert_file,
            "ssl.key.location": self.kafka_key_file,
        }
        return {name: value for name, value in said.items() if value}

    def ssl_context(self) -> ssl.SSLContext | None:
        """Context for clients that want one built (Faust); None where the protocol has no TLS.

        Raises SettingsError when a certificate file cannot be used.
        """
        if not self.kafka_security_protocol.endswith("SSL"):
            return None
        try:
            context = ssl.create_default_context(cafile=self.kafka_ca_file or None)
        except OSError as error:
            raise _unusable("SPANLOOM_KAFKA_CA_FILE", self.kafka_ca_file, error) from None
        if self.kafka_cert_file:
            try:
                context.load_cert_chain(self.kafka_cert_file, self.kafka_key_file or None, _no_passphrase)
            except OSError as error:
                files = f"{self.kafka_cert_file}, {self.kafka_key_file}".rstrip(", ")
                raise _unusable("SPANLOOM_KAFKA_CERT_FILE, SPANLOOM_KAFKA_KEY_FILE", files, error) from None
        return context


def _unusable(names: str, files: str, error: OSError) -> SettingsError:
    return SettingsError(f"{names}: no usable PEM in {files}: {error.strerror or error}")


def _no_passphrase() -> str:
    """Without it OpenSSL would ask the terminal, and wait."""
    raise SettingsError("SPANLOOM_KAFKA_KEY_FILE is protected by a passphrase: Spanloom takes a key without one")


class ClickHouseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How every ClickHouse client of Spanloom reaches the server."""

    clickhouse_url: HttpUrl = "http://127.0.0.1:8123"
    clickhouse_user: str = "default"
    clickhouse_password: Secret = Secret("")
    clickhouse_database: str = "spanloom"
    clickhouse_ca_file: str = ""

    def connection(self) -> dict[str, Any]:
        """Arguments of a clickhouse-connect client; they hold the password in clear, so never log them.

        The scheme is given as `interface`: of its own `dsn=` the client takes host and port alone, and would speak
        plaintext to an https:// URL.
        """
        url = urlsplit(self.clickhouse_url)
        return {
            "interface": url.scheme,
            "host": url.hostname,
            "port": url.port or (8443 if url.scheme == "https" else 8123),
            "username": self.clickhouse_user,
            "password": self.clickhouse_password.reveal(),
            "database": self.clickhouse_database,
            "ca_cert": self.clickhouse_ca_file or None,
        }

    def advice(self, said: str) -> str | None:
        """One line that says what to do when a client `said` why it cannot connect; None: nothing about settings."""
        if re.search(r"\((AUTHENTICATION_FAILED|UNKNOWN_USER|WRONG_PASSWORD|REQUIRED_PASSWORD)\)", said):
            user = self.clickhouse_user
            return (
                f"{self.clickhouse_url} refuses the user {user}: "
                "set SPANLOOM_CLICKHOUSE_USER and SPANLOOM_CLICKHOUSE_PASSWORD"
            )
        if "CERTIFICATE_VERIFY_FAILED" in said:
            return (
                f"the certificate of {self.clickhouse_url} cannot be verified: SPANLOOM_CLICKHOUSE_CA_FILE must hold "
                "the authority that signed it, and it must name its host"
            )
        return None


def read(cls: type[T], env: Mapping[str, str] = os.environ) -> T:
    """The settings of `cls` as `env` says; an unset or empty variable leaves the default.

    A Secret `NAME` may instead be put in a file that `NAME_FILE` points to.
    Raises SettingsError for a malformed, missing or unreadable value, and for a SPANLOOM_ variable nobody knows.
    """
    refuse_unknown(env, cls)
    return _read(cls, env)


def refuse_unknown(env: Mapping[str, str], *classes: type[msgspec.Struct]) -> None:
    """Raise SettingsError for a SPANLOOM_ variable that neither `classes` nor an installed package knows."""
    candidates = [n for n in env if n.startswith(PREFIX) and not n.startswith(_EXEMPT)]
    known = {name for cls in classes for name in variables(cls)}
    if known.issuperset(candidates):
        return
    installed = _installed()
    if installed is None:
        return
    known.update(name for cls in installed for name in variables(cls))
    for name in sorted(candidates):
        if name not in known:
            near = difflib.get_close_matches(name.removeprefix(PREFIX), [n.removeprefix(PREFIX) for n in known], n=1)
            hint = f"did you mean {PREFIX}{near[0]}?" if near else "no installed package reads it"
            raise SettingsError(f"{name} is not a setting: {hint}")


def check(env: Mapping[str, str] = os.environ) -> None:
    """Raise SettingsError for a SPANLOOM_ variable that no installed package knows, or whose value is none of its type.

    Looks at each variable by itself and into no file: what belongs together is checked by who reads it.
    """
    refuse_unknown(env)
    for cls in _installed() or ():
        for name, kind in _fields(cls):
            if kind is not Secret and (text := env.get(name, "")):
                _convert(name, text, kind)


def _fields(cls: type[msgspec.Struct]) -> Iterator[tuple[str, Any]]:
    """Name of the variable and type of each field, of those of nested classes too."""
    for field, kind in get_type_hints(cls, include_extras=True).items():
        if _is_settings(kind):
            yield from _fields(kind)
        else:
            yield _variable(field), kind


def variables(cls: type[msgspec.Struct]) -> Iterator[str]:
    """Names of the environment variables that `read(cls)` looks at."""
    for name, kind in _fields(cls):
        yield name
        if kind is Secret:
            yield f"{name}_FILE"


def _installed() -> list[type[msgspec.Struct]] | None:
    """Settings classes of all installed packages; None when one cannot be imported, for then nothing is unknown."""
    try:
        return [point.load() for point in entry_points(group=ENTRY_POINTS)]
    except (ImportError, AttributeError):
        return None


def _read(cls: type[T], env: Mapping[str, str]) -> T:
    hints = get_type_hints(cls, include_extras=True)
    required = {f.name for f in msgspec.structs.fields(cls) if f.required}
    values: dict[str, Any] = {}
    for field, kind in hints.items():
        name = _variable(field)
        if _is_settings(kind):
            values[field] = _read(kind, env)
        elif text := _text(name, kind, env):
            values[field] = _convert(name, text, kind)
        elif field in required:
            raise SettingsError(f"{name} is not set: {_expected(kind)} is expected")
    return cls(**values)


def _text(name: str, kind: Any, env: Mapping[str, str]) -> str:
    text, path = env.get(name, ""), env.get(f"{name}_FILE", "") if kind is Secret else ""
    if not path:
        return text
    if text:
        raise SettingsError(f"{name} and {name}_FILE are both set: keep one")
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise SettingsError(f"{name}_FILE points to {path!r}, which cannot be read: {why}") from None


def _convert(name: str, text: str, kind: Any) -> Any:
    if kind is Secret:
        return Secret(text)
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError:
        if _described(kind):  # what does not fit there may hold a password
            raise SettingsError(f"{name} is not {_expected(kind)}") from None
        raise SettingsError(f"{name} is {text!r}: {_expected(kind)} is expected") from None


def _described(kind: Any) -> str | None:
    metas = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    return next((meta.description for meta in metas if meta.description), None)


def _expected(kind: Any) -> str:
    if said := _described(kind):
        return said
    if get_origin(kind) is Annotated:
        base, *metas = get_args(kind)
        bounds = [(w, getattr(m, a, None)) for m in metas for a, w in _BOUNDS]
        said = " and ".join(f"{word} {bound}" for word, bound in bounds if bound is not None)
        return f"{_expected(base)} {said}".rstrip()
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(kind) if choice != "")
    return _EXPECTED.get(kind, "a secret text" if kind is Secret else str(kind))


_BOUNDS = (("ge", "of at least"), ("gt", "above"), ("le", "of at most"), ("lt", "below"))


def _variable(field: str) -> str:
    return PREFIX + field.upper()


def _is_settings(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
