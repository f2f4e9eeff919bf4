"""Runs into MLflow, so that its own filter finds them: needs the extra `spanloom-viewer[mlflow]`.

Pushing again changes only what has changed: a run is known by a tag, its metrics are logged anew where they differ.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from spanloom_traces.connection import StoreError
from spanloom_traces.runs import Run

if TYPE_CHECKING:
    from mlflow import MlflowClient

_KEY = "spanloom.key"
_MS = 1_000_000
_LONGEST = 6000  # characters of a param, as MLflow allows


class Changes(Struct, frozen=True):
    """What of a run MLflow does not have yet."""

    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    kept: tuple[str, ...]
    """Params that are others by now: MLflow keeps the first value of each."""

    def __bool__(self) -> bool:
        return bool(self.params or self.metrics or self.tags)


class Pushed(Struct, frozen=True):
    """What became of one run."""

    run_id: str
    mlflow_id: str
    new: bool
    changes: Changes


def push(runs: Iterable[Run], uri: str, experiment: str) -> Iterator[Pushed]:
    """Log each run's params, metrics and tags into an experiment of the MLflow at `uri`, which is made where it is not.

    Raises StoreError when MLflow's client is not installed, when the server is away or refuses.
    """
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise StoreError("MLflow's client is not installed: pip install 'spanloom-viewer[mlflow]'") from error
    try:
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(experiment)
        experiment_id = found.experiment_id if found else client.create_experiment(experiment)
        for run in runs:
            yield _push(client, experiment_id, run)
    except MlflowException as error:
        raise StoreError(f"MLflow does not take the runs: {' '.join(str(error).split())[:500]}") from error


def changes(run: Run, params: Mapping[str, str], metrics: Mapping[str, float], tags: Mapping[str, str]) -> Changes:
    """What of `run` differs from what MLflow has. Pure."""
    own = {_name(name): value[:_LONGEST] for name, value in run.params.items()}
    measured = {_name(name): value for name, value in run.metrics.items()}
    return Changes(
        params={name: value for name, value in own.items() if name not in params},
        metrics={name: value for name, value in measured.items() if metrics.get(name) != value},
        tags={name: value for name, value in run.tags.items() if tags.get(name) != value},
        kept=tuple(name for name, value in own.items() if params.get(name, value) != value),
    )


def _push(client: "MlflowClient", experiment_id: str, run: Run) -> Pushed:
    from mlflow.entities import Metric, Param, RunTag

    key = hashlib.sha256(run.run_id.encode()).hexdigest()
    known = client.search_runs([experiment_id], f"tags.`{_KEY}` = '{key}'", max_results=1)
    stored = (
        known[0]
        if known
        else client.create_run(experiment_id, start_time=run.start // _MS, run_name=run.run_id, tags={_KEY: key})
    )
    change = changes(run, stored.data.params, stored.data.metrics, stored.data.tags)
    if change:
        client.log_batch(
            stored.info.run_id,
            params=[Param(name, value) for name, value in change.params.items()],
            metrics=[Metric(name, value, run.end // _MS, 0) for name, value in change.metrics.items()],
            tags=[RunTag(name, value) for name, value in change.tags.items()],
        )
    if not known or stored.info.end_time != run.end // _MS:
        client.set_terminated(stored.info.run_id, "FINISHED", end_time=run.end // _MS)
    return Pushed(run.run_id, stored.info.run_id, not known, change)


def _name(name: str) -> str:
    """MLflow takes letters, digits, and _ - . / : and spaces in names; a score may have any."""
    return re.sub(r"[^\w\-./: ]", "_", name)
