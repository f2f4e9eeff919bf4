"""Grafana's own schema of a classic dashboard: the classes of its Foundation SDK, generated from Grafana's kinds.

`unknown`: what the schema does not know is lost when a board is read into these classes and written again. `mistyped`:
each value against the type that its class declares, enumerations included.
"""

import enum
import json
import sys
import types
import typing
from collections.abc import Iterator
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

register_default_plugins()
UNITS = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("_")}
# A query belongs to its data source's plugin; `spanNulls` is an option that the panel's code adds to its kind.
_OF_PLUGINS = (".targets", ".annotations.list.target", ".panels.fieldConfig.defaults.custom.spanNulls")


def read(board: dict[str, Any]) -> Dashboard:
    """A board in the classes of the schema."""
    return Dashboard.from_json(board)


def unknown(board: dict[str, Any]) -> list[str]:
    """Paths of what the schema does not know."""
    again = json.loads(JSONEncoder().encode(read(board)))
    return [path for path in _lost(board, again, "") if not path.startswith(_OF_PLUGINS)]


def _lost(said: Any, kept: Any, path: str) -> Iterator[str]:
    if isinstance(said, dict) and isinstance(kept, dict):
        for name, value in said.items():
            yield from _lost(value, kept[name], f"{path}.{name}") if name in kept else [f"{path}.{name}"]
    elif isinstance(said, list) and isinstance(kept, list) and len(said) == len(kept):
        for value, again in zip(said, kept, strict=True):
            yield from _lost(value, again, path)
    elif said != kept:
        yield path


def mistyped(thing: Any, path: str = "") -> Iterator[str]:
    """Paths of values that are not of the type that the schema gives them."""
    hints: dict[str, Any] = {}
    for base in type(thing).__mro__:
        module = vars(sys.modules[base.__module__])
        for name, hint in getattr(base, "__annotations__", {}).items():
            hints.setdefault(name, (hint, module))
    for name, (hint, module) in hints.items():
        wanted = typing.get_type_hints(types.SimpleNamespace(__annotations__={name: hint}), module)[name]
        value = getattr(thing, name)
        if value is not None or name == "schema_version":
            yield from _against(value, wanted, f"{path}.{name}")


def _against(value: Any, wanted: Any, path: str) -> Iterator[str]:
    value = value.value if isinstance(value, enum.Enum) else value
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if wanted in (Any, object):
        return
    if origin in (typing.Union, types.UnionType):
        attempts = [list(_against(value, each, path)) for each in inner]
        yield from min(attempts, key=len)
    elif origin is typing.Literal:
        allowed = {getattr(each, "value", each) for each in inner}
        yield from [] if value in allowed else [f"{path}: {value!r}"]
    elif origin is list or origin is dict:
        if not isinstance(value, origin):
            yield f"{path}: {value!r}"
        for each in value.values() if isinstance(value, dict) else value:
            yield from _against(each, inner[-1], path)
    elif isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        allowed = {each.value for each in wanted}
        yield from [] if value in allowed else [f"{path}: {value!r}"]
    elif wanted is float:
        yield from [] if isinstance(value, int | float) else [f"{path}: {value!r}"]
    elif wanted in (str, int, bool):
        yield from [] if type(value) is wanted else [f"{path}: {value!r}"]
    elif hasattr(value, "__dict__"):
        yield from mistyped(value, path)
    elif wanted is not type(None) or value is not None:
        yield f"{path}: {value!r}"
