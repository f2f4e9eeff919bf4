"""Spans across plain threads, which start with an empty context."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from spanloom.patching import Method, replace
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


def watch() -> None:
    """Have every ThreadPoolExecutor carry the span of who submits, and so `loop.run_in_executor` too.

    Plain threads are left alone: many of them outlive by far the request that happened to start them.
    """
    from concurrent.futures import ThreadPoolExecutor

    replace(ThreadPoolExecutor, "submit", _carrying)


def _carrying(method: Method) -> Method:
    @wraps(method)
    def submit(pool: Any, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return method(pool, function if current_span() is None else carry(function), *args, **kwargs)

    return submit
