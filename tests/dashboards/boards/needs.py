"""What a panel needs of the answer to its query, by the panel's kind: columns, their types, their order."""

import json
import re
from typing import Any

NUMBER = re.compile(r"^(Nullable\()?(U?Int\d+|Float\d+|Bool)\)?$")
TIME = re.compile(r"^DateTime")
_TEXT = re.compile(r"^(LowCardinality\()?(Nullable\()?(String|Enum)")
_FITTING = {"none": _TEXT, "dateTimeAsIso": re.compile(r"^(Nullable\()?DateTime"), "bool": re.compile("^Bool")}


def series(panel: dict[str, Any], found: dict[str, str], rows: list[Any]) -> None:
    """Time first and ascending, labels that are text, numbers; as the plugin makes series of rows."""
    names = list(found)
    assert names[0] == "time"
    assert TIME.match(found["time"])
    times = [row[0] for row in rows]
    assert times == sorted(times)
    labels = [name for name in names[1:] if _TEXT.match(found[name])]
    numbers = [name for name in names[1:] if NUMBER.match(found[name])]
    assert {*labels, *numbers} == {*names[1:]}, found
    assert numbers
    named = re.findall(r"\$\{__field\.labels\.(\w+)\}", json.dumps(panel["fieldConfig"]))
    assert set(named) <= set(labels)
    assert len(labels) == 0 or panel["fieldConfig"]["defaults"].get("displayName")
    points = [tuple(row[names.index(name)] for name in ("time", *labels)) for row in rows]
    assert len(points) == len(set(points)), "two values at one time in one series"
    assert any(row[names.index(numbers[0])] is not None for row in rows)
    for override in panel["fieldConfig"]["overrides"]:
        assert override["matcher"]["options"] in numbers


def one_row(panel: dict[str, Any], found: dict[str, str], rows: list[Any]) -> None:
    assert len(rows) == 1
    assert all(NUMBER.match(kind) for kind in found.values()), found
    assert all(value is not None for value in rows[0])
    assert {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]} <= found.keys()
    if not (fields := panel["options"]["reduceOptions"]["fields"]).startswith("/"):
        assert fields in found


def bars(panel: dict[str, Any], found: dict[str, str], rows: list[Any]) -> None:
    kinds = list(found.values())
    assert len(kinds) == 2
    assert _TEXT.match(kinds[0])
    assert NUMBER.match(kinds[1])


def table(panel: dict[str, Any], found: dict[str, str], rows: list[Any]) -> None:
    """Every column has its heading and unit, and the unit fits the type."""
    overrides = panel["fieldConfig"]["overrides"]
    described = {o["matcher"]["options"]: {p["id"]: p["value"] for p in o["properties"]} for o in overrides}
    assert set(described) == set(found)
    for column, kind in found.items():
        unit = described[column]["unit"]
        assert _FITTING.get(unit, NUMBER).match(kind), f"{column} is {kind}, its unit {unit}"
    titles = [each["displayName"] for each in described.values()]
    assert len(titles) == len(set(titles))


def heatmap(panel: dict[str, Any], found: dict[str, str], rows: list[Any]) -> None:
    names = list(found)
    assert names[0] == "time"
    bounds = [float(name.replace("+Inf", "inf")) for name in names[1:]]
    assert bounds == sorted(bounds)
    assert all(NUMBER.match(found[name]) for name in names[1:])


def trace(panel: dict[str, Any], found: dict[str, str], rows: list[Any]) -> None:
    """The frame that Grafana's trace panel takes (docs of the panel; `transformTraceData` of the plugin)."""
    pairs = "Array(Map("
    wanted = {
        "traceID": "String", "spanID": "String", "parentSpanID": "String", "serviceName": "LowCardinality(String)",
        "operationName": "LowCardinality(String)", "startTime": "Float64", "duration": "Float64", "tags": pairs,
        "serviceTags": pairs, "statusCode": "UInt8", "statusMessage": "String", "kind": "LowCardinality(String)",
        "logs": "Array(Tuple(", "references": "Array(Tuple(",
    }  # fmt: skip
    assert set(found) == set(wanted)
    for name, kind in wanted.items():
        assert found[name].startswith(kind), f"{name} is {found[name]}"


NEEDS = {
    "timeseries": series, "stat": one_row, "bargauge": bars, "table": table, "heatmap": heatmap, "traces": trace,
    "state-timeline": series,
}  # fmt: skip
