"""`python -m spanloom_boards`: write every board to `dashboards/grafana/boards`."""

import json
from pathlib import Path

from spanloom_boards.alerts import alerts
from spanloom_boards.board import Board
from spanloom_boards.cost import cost
from spanloom_boards.hosts import hosts
from spanloom_boards.latency import latency
from spanloom_boards.metrics import metrics
from spanloom_boards.overview import overview
from spanloom_boards.pipeline import pipeline
from spanloom_boards.runs import runs
from spanloom_boards.safety import safety
from spanloom_boards.traces import traces

FOLDER = Path(__file__).parents[1] / "grafana" / "boards"
BOARDS = (overview, latency, cost, safety, traces, runs, hosts, alerts, pipeline, metrics)


def written() -> dict[str, str]:
    """The text of every file by its name."""
    return {f"{board['uid'].removeprefix('spanloom-')}.json": _text(board) for board in (make() for make in BOARDS)}


def _text(board: Board) -> str:
    return json.dumps(board, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the files, and remove those of boards that are no more."""
    files = written()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for stale in {path.name for path in FOLDER.glob("*.json")} - files.keys():
        (FOLDER / stale).unlink()
    for name, text in files.items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
