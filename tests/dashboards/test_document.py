"""What docs/traces.md shows runs, and what it names is what there is."""

import re
from pathlib import Path

from spanloom_traces.runs import METRICS, PARAMS, TAGS
from spanloom_traces.store import TraceStore
from spanloom_traces.traces import FIELDS

TEXT = (Path(__file__).parents[2] / "docs" / "traces.md").read_text()


def test_the_python_of_the_document_runs(run, capsys):
    assert run  # it says where to read
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(compile(block, "traces.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "blocked it: malware" in printed
    assert "'llm.model': 'gpt-4o'" in printed
    assert '"requestCount":4' in printed


def test_the_document_names_every_field_and_every_method():
    methods = [name for name, value in vars(TraceStore).items() if callable(value) and not name.startswith("_")]
    for name in (*FIELDS, *PARAMS, *TAGS, *METRICS, *(f"{method}(" for method in methods if method != "close")):
        written = re.sub(r"_(p95|p99)$", "_p50", name)
        assert written in TEXT, name
