"""The example services as children of the demo, on free ports."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import click

from spanloom_stack import net
from spanloom_stack.supervise import Service

EXAMPLES = Path(__file__).parents[3] / "examples"


class Example(NamedTuple):
    """The example's services, in the order to start them, and where they listen."""

    services: list[Service]
    chat: str
    agent: str


def require() -> None:
    """Raise ClickException, one line, where the examples or what they need is not there."""
    if not EXAMPLES.is_dir():
        raise click.ClickException("spanloom demo runs the examples of the repository: run it from a clone of it")
    if not find_spec("httpx"):
        raise click.ClickException("the examples need httpx: pip install httpx, or run make demo")


def example(environment: dict[str, str]) -> Example:
    """The stub, the agent that calls it and the chat API that calls the agent."""
    stub, agent, chat = (net.claim(0) for _ in range(3))
    environment = environment | {
        "PYTHONPATH": str(EXAMPLES),
        "RAG_LLM_URL": _url(stub),
        "RAG_AGENT_URL": _url(agent),
        "SPANLOOM_ENVIRONMENT": "demo",
        "SPANLOOM_USER_PEPPER": "k1:of the demo, so that both services give a user the same hash",
    }
    services = [
        _served("llama-stub", "llama_stub.server:create_app", stub, environment),
        _served("rag-agent", "rag_service.agent:create_app", agent, environment),
        _served("rag-chat", "rag_service.chat:create_app", chat, environment),
    ]
    return Example(services, _url(chat), _url(agent))


def load(chat: str, agent: str, seconds: float) -> Service:
    """People who ask the chat API for `seconds`; its log is what they did, one JSON object a line."""
    arguments = ["--chat", chat, "--agent", agent, "--seconds", str(seconds)]
    command = [sys.executable, "-m", "rag_service.load", *arguments]
    return Service("load", command, lambda log: bool(log.strip()), {"PYTHONPATH": str(EXAMPLES)})


def _served(name: str, factory: str, port: int, environment: dict[str, str]) -> Service:
    address = ["--host", "127.0.0.1", "--port", str(port), "--no-access-log", "--timeout-graceful-shutdown", "3"]
    command = [sys.executable, "-m", "uvicorn", "--factory", factory, *address]
    return Service(name, command, lambda log: "Application startup complete" in log, environment)


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"
