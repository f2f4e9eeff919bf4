"""Runs pushed to a real MLflow server: its own filter finds them, and pushing again changes only what has changed."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from mlflow import MlflowClient
from spanloom_traces.to_mlflow import push

pytest_plugins = ["tests.dashboards.conftest"]
pytestmark = pytest.mark.timeout(400)  # on a busy machine the server takes its time
SPECIFIED = "params.llm.model='gpt-4o' AND metrics.latency_ms_p95<1200 AND metrics.cost_usd<0.002"


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with nothing in it."""
    folder: Path = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"--backend-store-uri": f"sqlite:///{folder}/runs.db", "--artifacts-destination": f"{folder}/artifacts"}
    words = [word for option in (options | {"--host": "127.0.0.1", "--port": str(port)}).items() for word in option]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [os.environ["MLFLOW_SERVER_PYTHON"], "-m", "mlflow", "server", "--workers", "1", *words],
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + 300
        while not answers(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # it and its workers: nothing of theirs is kept
        server.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="module")
def client(mlflow: str) -> MlflowClient:
    return MlflowClient(tracking_uri=mlflow)


def found(client: MlflowClient, experiment: str, filter: str) -> list[str]:
    known = client.get_experiment_by_name(experiment)
    return sorted(run.info.run_name for run in client.search_runs([known.experiment_id], filter))


def test_mlflows_own_filter_finds_what_ours_finds(mlflow, client, store, run):
    done = run("runs", "push", "--mlflow", mlflow, "--experiment", "same")
    assert done.output == "2 runs in same: 2 new, 0 changed\n", done.output
    for filter in (
        SPECIFIED,
        "params.`llm.temperature` = '0.7'",
        "metrics.error_rate > 0 and tags.service LIKE 'ch%'",
        "metrics.`score.hit_at_k` < 0.5",
        "metrics.cost_usd >= 0",
        "params.\"prompt.version\" != '1'",
        "metrics.requests = 3",
        "attributes.run_name ILIKE 'TW%'",
        "params.llm.top_p != '1'",
    ):
        assert found(client, "same", filter) == sorted(run.run_id for run in store.runs(filter)), filter
    assert found(client, "same", SPECIFIED) == ["one"]


def test_pushing_again_changes_nothing(mlflow, client, run):
    run("runs", "push", "--mlflow", mlflow, "--experiment", "again")
    before = everything(client, "again")
    assert (
        run("runs", "push", "--mlflow", mlflow, "--experiment", "again").output == "2 runs in again: 0 new, 0 changed\n"
    )
    assert everything(client, "again") == before


def test_what_has_changed_is_logged_and_a_param_that_cannot_change_is_said(mlflow, client, store):
    (one,) = store.runs("run_id = 'one'")
    list(push([one], mlflow, "changed"))
    more = msgspec.structs.replace(
        one,
        end=one.end + 10**9,
        params=one.params | {"llm.model": "gpt-4o,o3", "llm.top_p": "1"},
        metrics=one.metrics | {"requests": 4.0, "score.is it @ good?": 1.0},
    )
    (pushed,) = push([more], mlflow, "changed")
    assert (pushed.new, pushed.changes.kept) == (False, ("llm.model",))
    assert set(pushed.changes.metrics) == {"requests", "score.is it _ good_"}
    stored = client.get_run(pushed.mlflow_id)
    assert (stored.data.params["llm.model"], stored.data.params["llm.top_p"]) == ("gpt-4o", "1")
    assert (stored.data.metrics["requests"], stored.info.status) == (4.0, "FINISHED")
    assert stored.info.end_time == more.end // 1_000_000


def test_a_run_of_any_name_is_known_again(mlflow, client, store):
    (one,) = store.runs("run_id = 'one'")
    hostile = msgspec.structs.replace(one, run_id='it\'s "one" `x` \\ %')
    assert [pushed.new for _ in range(2) for pushed in push([hostile], mlflow, "names")] == [True, False]
    assert len(everything(client, "names")) == 1


def everything(client: MlflowClient, experiment: str) -> list[tuple[object, ...]]:
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return sorted(
        (
            run.info.run_id,
            *(tuple(sorted(facts.items())) for facts in (run.data.params, run.data.tags)),
            *(tuple((m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, name))
              for name in sorted(run.data.metrics)),
        )
        for run in runs
    )  # fmt: skip
