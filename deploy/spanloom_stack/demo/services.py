"""The example services as children of the demo, on free ports."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import click

from spanloom_stack import net
from spanloom_stack import services as stack
from spanloom_stack.supervise import Service

EXAMPLES = Path(__file__).parents[3] / "examples"
INSTRUMENT = "opentelemetry-instrument"
"""OpenTelemetry's command that turns on what is installed, and runs a program unmodified."""
_EMBEDDED = {
    "SPANLOOM_ENVIRONMENT": "demo",
    "SPANLOOM_USER_PEPPER": "k1:of the demo, so that both services give a user the same hash",
}


class Example(NamedTuple):
    """The example's services, in the order to start them, and where they listen."""

    services: list[Service]
    chat: str
    agent: str


def require(otlp: Path | None) -> None:
    """Raise ClickException, one line, where the examples or what they need is not there."""
    if not EXAMPLES.is_dir():
        raise click.ClickException("spanloom demo runs the examples of the repository: run it from a clone of it")
    if not find_spec("httpx"):
        raise click.ClickException("the examples need httpx: pip install httpx, or run make demo")
    if otlp is not None and not (otlp / "bin" / INSTRUMENT).is_file():
        raise click.ClickException(f"{otlp} has no {INSTRUMENT}: run make demo-otlp, which makes such an environment")


def example(environment: dict[str, str], otlp: Path | None = None) -> Example:
    """The stub, the agent that calls it and the chat API that calls the agent.

    With `otlp`, the two that know OpenTelemetry alone, in that virtual environment, and the gateway before them.
    """
    stub, agent, chat = (net.claim(0) for _ in range(3))
    urls = {"PYTHONPATH": str(EXAMPLES), "RAG_AGENT_URL": _url(agent)}
    model = _served("llama-stub", "llama_stub.server:create_app", stub, environment | urls)
    if otlp is None:
        embedded = environment | urls | _EMBEDDED | {"RAG_LLM_URL": _url(stub)}
        watched = [
            _served("rag-agent", "rag_service.agent:create_app", agent, embedded),
            _served("rag-chat", "rag_service.chat:create_app", chat, embedded),
        ]
    else:
        door, http, grpc = _gateway(environment)
        model_key = {"OPENAI_BASE_URL": f"{_url(stub)}/v1", "OPENAI_API_KEY": "none"}
        watched = [
            door,
            _instrumented(otlp, "rag-agent", "agent", agent, urls | model_key | _exporting(http, "http/protobuf")),
            _instrumented(otlp, "rag-chat", "chat", chat, urls | _exporting(grpc, "grpc")),
        ]
    return Example([model, *watched], _url(chat), _url(agent))


def _gateway(environment: dict[str, str]) -> tuple[Service, str, str]:
    """The OTLP door, and where it takes HTTP and gRPC."""
    http, grpc = net.claim(0), net.claim(0)
    ports = {"SPANLOOM_GATEWAY_PORT": str(http), "SPANLOOM_GATEWAY_GRPC_PORT": str(grpc)}
    pepper = {"SPANLOOM_USER_PEPPER": _EMBEDDED["SPANLOOM_USER_PEPPER"]}
    return stack.spanloom("gateway", "gateway", **environment, **ports, **pepper), _url(http), _url(grpc)


def _exporting(endpoint: str, protocol: str) -> dict[str, str]:
    """What OpenTelemetry's SDK is told: all of it by its own variables."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_RESOURCE_ATTRIBUTES": "service.version=1.0,deployment.environment.name=demo",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "1000",  # by default it holds spans for 5 s, and panes wait for 3
    }


def _instrumented(home: Path, name: str, module: str, port: int, environment: dict[str, str]) -> Service:
    instrument = [str(home / "bin" / INSTRUMENT), str(home / "bin" / "uvicorn")]
    named = {**environment, "OTEL_SERVICE_NAME": name}
    return _served(name, f"otel_service.{module}:create_app", port, named, instrument)


def load(chat: str, agent: str, seconds: float) -> Service:
    """People who ask the chat API for `seconds`; its log is what they did, one JSON object a line."""
    arguments = ["--chat", chat, "--agent", agent, "--seconds", str(seconds)]
    command = [sys.executable, "-m", "rag_service.load", *arguments]
    return Service("load", command, lambda log: bool(log.strip()), {"PYTHONPATH": str(EXAMPLES)})


def _served(
    name: str,
    factory: str,
    port: int,
    environment: dict[str, str],
    uvicorn: Sequence[str] = (sys.executable, "-m", "uvicorn"),
) -> Service:
    address = ["--host", "127.0.0.1", "--port", str(port), "--no-access-log", "--timeout-graceful-shutdown", "3"]
    command = [*uvicorn, "--factory", factory, *address]
    return Service(name, command, lambda log: "Application startup complete" in log, environment)


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"
