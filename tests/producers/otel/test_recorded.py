"""Spans that real instrumentations made (`make test-compat` makes them anew), in one file each."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.compat.instrumentations import truth

FOLDER = Path(__file__).parent / "recorded"


def recorded(by: str, case: str) -> list[dict[str, Any]]:
    spans: list[dict[str, Any]] = json.loads((FOLDER / f"{by}.json").read_text("utf-8"))[case]
    return spans


@pytest.mark.parametrize("case", truth.STORE_CASES)
def test_what_reads_a_vector_store_is_retrieval(case: str) -> None:
    spans = truth.translated(recorded("qdrant-openllmetry", case))
    truth.reads_or_writes(case, spans)
    truth.holds_back(spans)


@pytest.mark.parametrize(("by", "case"), truth.ALL)
def test_a_call_of_a_real_instrumentation_counts_once_and_keeps_its_texts(by: str, case: str) -> None:
    spans = truth.translated(recorded(by, case))
    truth.counts_once(by, case, spans)
    truth.tells_how_it_ended(by, case, spans)
    truth.holds_back(spans)
