"""Methods of other libraries, replaced once by ours around them. The libraries stay what they are for their callers."""

from collections.abc import Callable
from typing import Any

from spanloom.complaints import complain

Method = Callable[..., Any]


def replace(owner: type, name: str, wrap: Callable[[Method], Method]) -> None:
    """Put `wrap(method)` in the place of a method, unless that is done: a wrapper around ours copies our mark."""
    method = getattr(owner, name)
    if getattr(method, "__spanloom__", False):
        return
    made: Any = wrap(method)
    made.__spanloom__ = True
    setattr(owner, name, made)


def defining(kind: type, name: str) -> type:
    """Return the class of which `kind` has a method."""
    return next(owner for owner in kind.__mro__ if name in vars(owner))


def harmless(work: Callable[[], Any]) -> Any:
    """Return what our part of a call makes; None, and a line in the log, where it fails: the call goes on."""
    try:
        return work()
    except Exception as error:  # of another version of the library
        complain("a library could not be watched", f"{type(error).__name__}: {error}")
        return None
