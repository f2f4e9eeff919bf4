"""What is pushed to MLflow, without one; `make test-compat` pushes to a real server."""

import sys

import pytest
from spanloom_traces import StoreError
from spanloom_traces.runs import Run
from spanloom_traces.to_mlflow import changes, push

RUN = Run(
    "one", 0, 1, {"llm.model": "gpt-4o", "prompt.id": "answer"}, {"requests": 3.0, "score.ok?": 1.0}, {"tenant": "acme"}
)


def test_all_of_a_new_run_is_logged_under_names_that_mlflow_takes():
    new = changes(RUN, {}, {}, {})
    assert (new.params, new.tags, new.kept) == (RUN.params, RUN.tags, ())
    assert new.metrics == {"requests": 3.0, "score.ok_": 1.0}


def test_of_a_run_that_is_there_only_what_differs_is_logged():
    assert not changes(RUN, RUN.params, {"requests": 3.0, "score.ok_": 1.0}, RUN.tags | {"mlflow.user": "me"})
    changed = changes(
        RUN, {"llm.model": "o3", "prompt.id": "answer"}, {"requests": 2.0, "score.ok_": 1.0}, {"tenant": "x"}
    )
    assert (changed.params, changed.metrics, changed.tags) == ({}, {"requests": 3.0}, {"tenant": "acme"})
    assert changed.kept == ("llm.model",)


def test_without_mlflows_client_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(StoreError, match=r"pip install 'spanloom-viewer\[mlflow\]'"):
        list(push([RUN], "http://127.0.0.1:9", "x"))
