"""A service that knows OpenTelemetry alone, as a fault happens to it: traces to the gateway by OTLP until stdin closes.

Each request is sent until the gateway has taken it, as exporters do while they have patience; a span of which it never
heard, or that it took twice, would be wrong. The account is as that of `producing`.
`python -m tests.faults.calling SERVICE SEED TRACES_A_SECOND URL ACCOUNT`
"""

import json
import random
import sys
import time
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any, TextIO

from tests.faults.producing import FLUSH_S, MODELS, paced

PAUSE_S = 0.5


class Load:
    """Traces of a service, each span noted in its account once it is taken."""

    def __init__(self, service: str, seed: int, url: str, account: TextIO) -> None:
        self.service, self.random, self.url, self.account = service, random.Random(seed), url, account

    def trace(self) -> None:
        """A request that asks a model."""
        rnd, now = self.random, time.time_ns()
        trace_id, root, call = (rnd.randbytes(size).hex() for size in (16, 8, 8))
        model, asked, answered = rnd.choice(MODELS), rnd.randrange(100, 4000), rnd.randrange(10, 800)
        said = {"model": model, "input_tokens": asked, "output_tokens": answered}
        named = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": model}
        tokens = {"gen_ai.usage.input_tokens": asked, "gen_ai.usage.output_tokens": answered}
        self.taken([
            _span(trace_id, root, now, name="POST /chat", kind=2),
            _span(trace_id, call, now, named | tokens, name=f"chat {model}", kind=3, parentSpanId=root),
        ])  # fmt: skip
        for noted in ((root, "POST /chat", "request", {}), (call, f"chat {model}", "llm", said)):
            self.account.write(json.dumps((trace_id, *noted, now, now)) + "\n")

    def taken(self, spans: list[dict[str, Any]]) -> None:
        """Send until it is taken."""
        resource = {"attributes": _attributes({"service.name": self.service})}
        body = json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}).encode()
        request = urllib.request.Request(f"{self.url}/v1/traces", body, {"Content-Type": "application/json"})
        until = time.monotonic() + FLUSH_S + 600
        while True:
            try:
                with urllib.request.urlopen(request, timeout=15) as answer:
                    assert "partialSuccess" not in json.load(answer)
                return
            except (OSError, HTTPException):  # it is away, or says that Kafka is
                if time.monotonic() > until:
                    raise
                time.sleep(PAUSE_S)


def _span(trace_id: str, span_id: str, now: int, facts: dict[str, Any] | None = None, **said: Any) -> dict[str, Any]:
    times = {"startTimeUnixNano": str(now - 2_000_000), "endTimeUnixNano": str(now)}
    return {"traceId": trace_id, "spanId": span_id, "attributes": _attributes(facts or {}), **times, **said}


def _attributes(facts: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": value} if isinstance(value, int) else {"stringValue": value}}
        for key, value in facts.items()
    ]


def main(service: str, seed: str, rate: str, url: str, account: str) -> None:
    with Path(account).open("w") as file:
        load = Load(service, int(seed), url, file)
        paced(float(rate), load.trace)
        json.dump({"arrived": True, "dropped": {}}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
