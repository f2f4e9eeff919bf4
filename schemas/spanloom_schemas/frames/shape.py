"""What an Avro type is in polars, and an old version's columns in the shape of the newest."""

from typing import Any

import polars as pl

_PRIMITIVE: dict[str, pl.DataType] = {
    "boolean": pl.Boolean(),
    "int": pl.Int32(),
    "long": pl.Int64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "string": pl.String(),
    "bytes": pl.Binary(),
}


def items(schema: dict[str, Any]) -> dict[str, Any]:
    """The record schema of a batch's items: its last field is the array of them."""
    found: dict[str, Any] = schema["fields"][-1]["type"]["items"]
    return found


def columns(record: dict[str, Any]) -> dict[str, pl.DataType]:
    """Columns of a record schema. An enum is a String, a nullable T is T, a record a Struct, an array a List."""
    return {field["name"]: dtype(field["type"]) for field in record["fields"]}


def dtype(avro: Any) -> pl.DataType:
    """The polars type of an Avro type as our schemas use them; anything else is a KeyError."""
    if isinstance(avro, list):
        return dtype(_not_null(avro))
    if isinstance(avro, str):
        return _PRIMITIVE[avro]
    if avro["type"] == "record":
        return pl.Struct(columns(avro))
    if avro["type"] == "array":
        return pl.List(dtype(avro["items"]))
    return pl.String() if avro["type"] == "enum" else _PRIMITIVE[avro["type"]]


def record_lists(fields: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of fields that are (nullable) arrays of (nullable) records, the record's schema."""
    kinds = {field["name"]: _not_null(field["type"]) for field in fields}
    items = {
        name: _not_null(kind["items"]) for name, kind in kinds.items() if isinstance(kind, dict) and "items" in kind
    }
    return {name: item for name, item in items.items() if isinstance(item, dict)}


def bare(avro: Any) -> Any:
    """The schema as polars' reader wants it: without doc, default and namespace, an enum as the int that it is."""
    if isinstance(avro, list):
        return [bare(branch) for branch in avro]
    if isinstance(avro, dict):
        if avro.get("type") == "enum":
            return "int"
        return {key: bare(value) for key, value in avro.items() if key not in ("doc", "default", "namespace")}
    return avro


def symbols(record: dict[str, Any]) -> dict[str, pl.Series]:
    """The symbols of each enum column of a record schema, in their order."""
    enums = [field for field in record["fields"] if isinstance(field["type"], dict) and field["type"]["type"] == "enum"]
    return {field["name"]: pl.Series(field["type"]["symbols"], dtype=pl.String) for field in enums}


def least_bytes(avro: Any) -> int:
    """Length of the shortest datum of a type: no array of n items is shorter than n times that."""
    if isinstance(avro, list):
        return 1 + min(least_bytes(branch) for branch in avro)
    if isinstance(avro, dict) and avro["type"] == "record":
        return sum(least_bytes(field["type"]) for field in avro["fields"])
    return {"null": 0, "float": 4, "double": 8}.get(avro if isinstance(avro, str) else avro["type"], 1)


def upgrade(frame: pl.DataFrame, old: dict[str, Any], new: dict[str, Any]) -> pl.DataFrame:
    """A frame of record schema `old` in the columns of `new`: added fields take their default, dropped ones go."""
    if old == new:
        return frame
    known = {field["name"]: field["type"] for field in old["fields"]}
    return frame.select(_field(field, known, pl.col(field["name"])) for field in new["fields"])


def _field(field: dict[str, Any], known: dict[str, Any], value: pl.Expr) -> pl.Expr:
    name = field["name"]
    if name in known:
        return _upgraded(value, known[name], field["type"]).alias(name)
    return pl.lit(pl.Series([field["default"]], dtype=dtype(field["type"]))).first().alias(name)


def _upgraded(value: pl.Expr, old: Any, new: Any) -> pl.Expr:
    old, new = _not_null(old), _not_null(new)
    if bare(old) == bare(new):
        return value
    if isinstance(new, dict) and new["type"] == "record":
        known = {field["name"]: field["type"] for field in old["fields"]}
        fields = [_field(field, known, value.struct.field(field["name"])) for field in new["fields"]]
        return pl.when(value.is_not_null()).then(pl.struct(fields))
    if isinstance(new, dict) and new["type"] == "array":
        return value.list.eval(_upgraded(pl.element(), old["items"], new["items"]))
    return value.cast(dtype(new))


def _not_null(avro: Any) -> Any:
    return next(branch for branch in avro if branch != "null") if isinstance(avro, list) else avro
