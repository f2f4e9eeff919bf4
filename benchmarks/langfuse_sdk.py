"""What a span costs a service that speaks by Langfuse's SDK: the load of `producer` in that SDK's words.

The SDK runs in an environment of its own, installed from langfuse.lock, and sends to a receiver in another process. By
default it exports every 5 s, or 512 spans.
"""

import subprocess
import sys
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import load

HERE = Path(__file__).parent
HOME = HERE.parent / ".venv-compat" / "langfuse"
FACTS = {"user_id": "ann@example.org", "session_id": "s-1", "metadata": {"tenant": "acme", "experiment": "b"}}
DOCUMENTS = [{"id": name, "score": score, "cited": cited} for name, score, cited in load.DOCUMENTS]
PROMPT = {"id": "answer", "version": "7", "system": 200, "instructions": 80, "context": 1400, "user": 156}
CALL = {"model": "gpt-4o", "model_parameters": {"temperature": 0.2, "max_tokens": 512}}
USAGE = {"input": 812, "cache_read_input_tokens": 1024, "output": 180, "reasoning": 64}
STEPS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("search", "retriever", {}, {"metadata": {"documents": DOCUMENTS, "k": 10}}),
    ("rerank", "span", {}, {}),
    ("build prompt", "span", {}, {"metadata": {"prompt": PROMPT}}),
    ("chat gpt-4o", "generation", CALL, {"usage_details": USAGE, "metadata": {"finish_reasons": ["stop"]}}),
    ("check answer", "guardrail", {}, {}),
    ("look up", "tool", {"metadata": {"tool_name": "calculator"}}, {}),
    ("format", "span", {}, {}),
]


def python() -> Path:
    """Return the interpreter that has Langfuse's SDK, installed where it is not. Raises CalledProcessError."""
    lock, ready = HERE / "langfuse.lock", HOME / ".ready"
    if not ready.exists() or ready.stat().st_mtime < lock.stat().st_mtime:
        uv = [str(Path(sys.executable).with_name("uv"))]
        subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(HOME)], check=True)
        install = ["pip", "install", "--quiet", "--require-hashes", "--requirement", str(lock), "--python", str(HOME)]
        subprocess.run([*uv, *install], check=True)
        ready.touch()
    return HOME / "bin" / "python"


def measure(url: str) -> None:
    """Measure in this process, and print the figures."""
    from langfuse import Langfuse, propagate_attributes

    langfuse: Any = Langfuse(public_key="pk-lf-benchmark", secret_key="sk-lf-benchmark", base_url=url)
    observe = langfuse.start_as_current_observation

    def request(times: list[int]) -> None:
        load.host()
        begun = perf_counter_ns()
        facts = propagate_attributes(**FACTS)
        facts.__enter__()
        root = observe(name="POST /chat", as_type="span")
        root.__enter__()
        own = perf_counter_ns() - begun
        for name, kind, given, answer in STEPS:
            begun = perf_counter_ns()
            with observe(name=name, as_type=kind, **given) as observation:
                if answer:
                    observation.update(**answer)
            times.append(perf_counter_ns() - begun)
            load.host()
        begun = perf_counter_ns()
        root.__exit__(None, None, None)
        facts.__exit__(None, None, None)
        times.append(own + perf_counter_ns() - begun)

    load.measure("langfuse.", request, langfuse.flush)


def main(arguments: list[str]) -> int:
    """Measure in a process of the SDK's own environment, or be that process."""
    if arguments:
        measure(*arguments)
        return 0
    from receiver import receiver

    try:
        interpreter = python()
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"spanloom: Langfuse's SDK is not measured, it cannot be installed: {error}", file=sys.stderr)
        return 0
    with receiver() as url:
        return subprocess.run([str(interpreter), __file__, url], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
