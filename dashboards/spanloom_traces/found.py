"""What a question found: objects, or the columns of a frame."""

from collections.abc import Sequence
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints, overload

import msgspec

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T", bound=msgspec.Struct)
_MOMENTS = frozenset({"start", "end", "time"})
_LENGTHS = frozenset({"duration", "ttft"})


class Found(Sequence[T], Generic[T]):
    """The objects found, in the order asked for; `frame()` has them as a polars frame."""

    def __init__(self, kind: type[T], items: Sequence[T]) -> None:
        self._kind, self._items = kind, tuple(items)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"Found({list(self._items)!r})"

    def frame(self) -> "pl.DataFrame":
        """A row an object, a column a field, and one for each key of a mapping, such as `metrics.cost_usd`.

        Moments are Datetime[ns, UTC], lengths of time Duration[ns].
        """
        import polars as pl  # heavy, and not needed by who wants objects

        schema, mappings = _schema(self._kind), _mappings(self._kind)
        rows = [msgspec.to_builtins(item) for item in self._items]
        for name, dtype in mappings.items():
            of = [row.pop(name) for row in rows]
            keys = sorted({key for mapping in of for key in mapping})
            schema |= {f"{name}.{key}": dtype for key in keys}
            for row, mapping in zip(rows, of, strict=True):
                row |= {f"{name}.{key}": mapping.get(key) for key in keys}
        plain = pl.DataFrame(rows, schema=schema, orient="row")
        return plain.with_columns(
            *(pl.from_epoch(name, "ns").dt.replace_time_zone("UTC") for name in plain.columns if name in _MOMENTS),
            *(pl.col(name).cast(pl.Duration("ns")) for name in plain.columns if name in _LENGTHS),
        )


def _schema(kind: type[msgspec.Struct]) -> "dict[str, pl.DataType]":
    """The columns of all fields that are no mappings."""
    return {name: _dtype(hint) for name, hint in _hints(kind) if get_origin(hint) is not dict}


def _mappings(kind: type[msgspec.Struct]) -> "dict[str, pl.DataType]":
    """The fields that are mappings, and what they map to."""
    return {name: _dtype(get_args(hint)[1]) for name, hint in _hints(kind) if get_origin(hint) is dict}


def _hints(kind: type[msgspec.Struct]) -> list[tuple[str, Any]]:
    hints = get_type_hints(kind)
    return [(field.name, hints[field.name]) for field in msgspec.structs.fields(kind)]


def _dtype(hint: Any) -> "pl.DataType":
    import polars as pl

    plain: dict[Any, pl.DataType] = {int: pl.Int64(), float: pl.Float64(), str: pl.String(), bool: pl.Boolean()}
    if hint in plain:
        return plain[hint]
    if get_origin(hint) is Literal:
        return pl.String()
    arguments = [argument for argument in get_args(hint) if argument not in (NoneType, Ellipsis)]
    if isinstance(hint, UnionType):
        return _dtype(arguments[0])
    if get_origin(hint) is tuple:
        return pl.List(_dtype(arguments[0]))
    return pl.Struct(_schema(hint))
