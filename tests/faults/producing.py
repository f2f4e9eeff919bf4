"""A service that a fault happens to: traces by the seed until stdin closes, and an account of every span it made.

The account is written by this program from what it did, not read back from anything of Spanloom's: a line of JSON a
span, and a last one of what became of them.
`python -m tests.faults.producing SERVICE SEED TRACES_A_SECOND LATE ACCOUNT`; LATE is the share of traces of which a
span ends seconds after the rest.
"""

import heapq
import json
import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import spanloom

MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "of-our-own")  # the last has no price
TENANTS = ("acme", "globex", "initech")
FLUSH_S = 120.0


class Load:
    """Traces of a service, each span noted in its account."""

    def __init__(self, seed: int, late: float, account: TextIO) -> None:
        self.random, self.late, self.account = random.Random(seed), late, account
        self.made = 0
        self.stragglers: list[tuple[float, int, int, spanloom.Span, dict]] = []
        self.anchor = 0

    def ended(self, span, **facts) -> None:
        """End a span and note what was said of it, and between which two moments it ended."""
        before = time.perf_counter_ns()
        span.end()
        between = self.anchor + before, self.anchor + time.perf_counter_ns()
        said = (span.trace_id, span.id, span.name, span.kind, facts, *between)
        self.account.write(json.dumps(said) + "\n")
        self.made += 1

    def trace(self) -> None:
        """One request: model calls, a retrieval, a tool, now and then an error, a block, or a span that ends late."""
        rnd = self.random
        tenant = rnd.choice(TENANTS)
        # As spans are timed: by the wall clock when their trace begins, which may be set while it runs.
        self.anchor = time.time_ns() - time.perf_counter_ns()
        root = spanloom.span("POST /chat", event_type="request", attributes={"tenant": tenant})
        for _ in range(rnd.randrange(1, 4)):
            self.model_call(root, tenant)
        if rnd.random() < 0.5:
            retrieval = spanloom.span("search", event_type="retrieval", parent=root)
            retrieval.set_documents([(f"doc-{n}", rnd.random(), n < 2) for n in range(rnd.randrange(1, 6))], k=5)
            self.ended(retrieval, tenant=tenant)
        if rnd.random() < 0.3:
            tool = spanloom.span("weather", event_type="tool", parent=root)
            failed = rnd.random() < 0.2
            if failed:
                tool.record_error("timeout")
            self.ended(tool, tenant=tenant, error=failed)
        if rnd.random() < 0.05:
            safety = spanloom.span("check", event_type="safety", parent=root)
            safety.block("pii")
            safety.add_score("toxicity", rnd.random())
            self.ended(safety, tenant=tenant, blocked=True)
        if rnd.random() < self.late:
            late = spanloom.span("postproc", event_type="postproc", parent=root)
            due = time.monotonic() + rnd.uniform(2.5, 5)
            heapq.heappush(self.stragglers, (due, self.made, self.anchor, late, {"tenant": tenant}))
        if rnd.random() < 0.3:
            root.record_error("upstream")
            self.ended(root, tenant=tenant, error=True)
        else:
            self.ended(root, tenant=tenant)

    def model_call(self, root, tenant: str) -> None:
        rnd = self.random
        model, asked, answered = rnd.choice(MODELS), rnd.randrange(100, 4000), rnd.randrange(10, 800)
        call = spanloom.span("chat", event_type="llm", model=model, parent=root)
        call.set_model(provider="openai")
        call.set_tokens(input=asked, output=answered)
        call.set_prompt("answer", "7")
        call.mark_first_token()
        self.ended(call, tenant=tenant, model=model, input_tokens=asked, output_tokens=answered)

    def end_stragglers(self, until: float) -> None:
        while self.stragglers and self.stragglers[0][0] <= until:
            _, _, self.anchor, span, facts = heapq.heappop(self.stragglers)
            self.ended(span, **facts)


def main(service: str, seed: str, rate: str, late: str, account: str) -> None:
    spanloom.configure(service=service)
    with Path(account).open("w") as file:
        load = Load(int(seed), float(late), file)
        paced(float(rate), lambda: (load.trace(), load.end_stragglers(time.monotonic())))
        load.end_stragglers(float("inf"))
        arrived = spanloom.flush(FLUSH_S)
        said = spanloom.shutdown(10)
        json.dump({"arrived": arrived and said, "dropped": spanloom.dropped()}, file)


def paced(rate: float, turn: Callable[[], object]) -> None:
    """Take so many turns a second until stdin closes; what could not be is made up for a second long."""
    pause, stop = 1 / rate, threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    due = time.monotonic()
    while not stop.is_set():
        turn()
        due = max(due + pause, time.monotonic() - 1)
        stop.wait(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main(*sys.argv[1:])
