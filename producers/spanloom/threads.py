"""Spans across plain threads, which start with an empty context."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from spanloom.span import current_span, enter, leave

P = ParamSpec("P")
R = TypeVar("R")


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a function for a thread or an executor, so that it runs in the span that is current now."""
    carried = current_span()

    @wraps(function)
    def carrying(*args: P.args, **kwargs: P.kwargs) -> R:
        token = enter(carried)
        try:
            return function(*args, **kwargs)
        finally:
            leave(token)

    return carrying
