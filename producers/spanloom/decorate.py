"""`@trace_llm`: a span around each call of a function, a coroutine, a generator or an async generator."""

import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

from spanloom.span import Span, current_span, enter, leave, span

F = TypeVar("F", bound=Callable[..., Any])


def trace_llm(
    name: str,
    *,
    event_type: str = "llm",
    model: str | None = None,
    attributes: Mapping[str, object] | None = None,
) -> Callable[[F], F]:
    """Trace every call of the decorated function as a span; the arguments are those of `span`.

    The span of a generator starts with its first step and ends when it is exhausted, closed or abandoned. Between steps
    its span is not current for the consumer. Of kind llm, the first item that is yielded marks the first token, unless
    the body marked it.
    """

    def start() -> Span:
        return span(name, event_type=event_type, model=model, attributes=attributes)

    def decorate(function: F) -> F:
        wrap = next(wrap for test, wrap in _WRAPS if test(function))
        return cast(F, wraps(function)(wrap(function, start)))

    return decorate


def _function(function: Callable[..., Any], start: Callable[[], Span]) -> Callable[..., Any]:
    def traced(*args: Any, **kwargs: Any) -> Any:
        with start():
            return function(*args, **kwargs)

    return traced


def _coroutine(function: Callable[..., Any], start: Callable[[], Span]) -> Callable[..., Any]:
    async def traced(*args: Any, **kwargs: Any) -> Any:
        with start():
            return await function(*args, **kwargs)

    return traced


class _Steps:
    """Makes a generator's span current while its body runs, and what was current before while its consumer does.

    The body may open spans of its own across a `yield`: the one it left off in is current again in its next step.
    """

    def __init__(self, made: Span) -> None:
        self.span = made
        self._inside: Span | None = made

    def __enter__(self) -> None:
        self._token = enter(self._inside)

    def __exit__(self, *_: object) -> None:
        self._inside = current_span()
        leave(self._token)

    def yielded(self) -> None:
        if self.span.kind == "llm":
            self.span.mark_first_token()


def _generator(function: Callable[..., Any], start: Callable[[], Span]) -> Callable[..., Any]:
    def traced(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with _ending(start()) as steps:
            body = function(*args, **kwargs)
            step, sent = body.send, None
            while True:
                try:
                    with steps:
                        item = step(sent)
                except StopIteration as end:
                    return end.value
                steps.yielded()
                try:
                    step, sent = body.send, (yield item)
                except GeneratorExit:
                    with steps:
                        body.close()
                    raise
                except BaseException as error:
                    step, sent = body.throw, error

    return traced


def _async_generator(function: Callable[..., Any], start: Callable[[], Span]) -> Callable[..., Any]:
    async def traced(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        with _ending(start()) as steps:
            body = function(*args, **kwargs)
            step, sent = body.asend, None
            while True:
                try:
                    with steps:
                        item = await step(sent)
                except StopAsyncIteration:
                    return
                steps.yielded()
                try:
                    step, sent = body.asend, (yield item)
                except GeneratorExit:
                    with steps:
                        await body.aclose()
                    raise
                except BaseException as error:
                    step, sent = body.athrow, error

    return traced


@contextmanager
def _ending(made: Span) -> Iterator[_Steps]:
    """End a generator's span with the generator, without making it current."""
    try:
        yield _Steps(made)
    except BaseException as error:
        made.close(error)
        raise
    made.close(None)


_WRAPS: tuple[tuple[Callable[[Any], bool], Callable[..., Callable[..., Any]]], ...] = (
    (inspect.isasyncgenfunction, _async_generator),
    (inspect.iscoroutinefunction, _coroutine),
    (inspect.isgeneratorfunction, _generator),
    (callable, _function),
)
