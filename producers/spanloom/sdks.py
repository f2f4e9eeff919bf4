"""OpenAI's and Anthropic's SDKs, watched: each answer of a model, streamed or whole, is a span of kind llm.

All calls of a client pass through one public method, `request`. Nothing is asked for that the host did not ask for, and
it gets what the SDK made: a stream stays the SDK's own, we only sit between it and its chunks. A call within an llm
span of the host's own is that span's.
"""

from collections.abc import Mapping
from functools import partial, wraps
from importlib import import_module
from inspect import isawaitable
from typing import Any

from spanloom.answers import estimated
from spanloom.otel.calls import OURS, RESPONSE_ID, SCOPE
from spanloom.otel.instrumenting import theirs
from spanloom.patching import Method, defining, harmless, replace
from spanloom.span import current_span, enter, leave, span
from spanloom.timed import AsyncTimed, Listener, Timed

SDKS = {"openai": ("OpenAI", "AsyncOpenAI"), "anthropic": ("Anthropic", "AsyncAnthropic")}
"""Module → its clients, the second one for asyncio."""
PATHS = frozenset({"/chat/completions", "/completions", "/responses", "/v1/messages", "/v1/complete"})
"""Where models answer."""
PROVIDERS = {"Azure": "azure.ai.openai", "Bedrock": "aws.bedrock", "Vertex": "gcp.vertex_ai", "Google": "gcp.vertex_ai"}
"""What a client's class has in its name → whose models it asks, where that is not the SDK's maker."""
SETTINGS = {
    **{name: name for name in ("temperature", "top_p", "max_tokens")},
    **dict.fromkeys(("max_completion_tokens", "max_output_tokens"), "max_tokens"),
}
"""What a request says → our field."""
_RAW = "X-Stainless-Raw-Response"
"""Header by which the SDKs note that the host wants the HTTP response; `stream`: that it reads it itself."""


def watch(name: str) -> None:
    """Watch the SDK of that name from now on. Raises whatever its import does."""
    sdk = import_module(name)
    for client, wrap in zip(SDKS[name], (_sync, _async), strict=True):
        replace(defining(getattr(sdk, client), "request"), "request", partial(wrap, name))
    for stream in (sdk.Stream, sdk.AsyncStream):
        replace(stream, "close", _closing)


def _sync(sdk: str, method: Method) -> Method:
    @wraps(method)
    def request(client: Any, *args: Any, **kwargs: Any) -> Any:
        call = harmless(partial(_begun, sdk, client, *args, **kwargs))
        if call is None:
            return method(client, *args, **kwargs)
        token = enter(call.span)
        try:
            answer = method(client, *args, **kwargs)
        except BaseException as error:
            call.over(error)
            raise
        finally:
            leave(token)
        harmless(lambda: _listen(call, _parsed(answer)))
        return answer

    return request


def _async(sdk: str, method: Method) -> Method:
    @wraps(method)
    async def request(client: Any, *args: Any, **kwargs: Any) -> Any:
        call = harmless(partial(_begun, sdk, client, *args, **kwargs))
        if call is None:
            return await method(client, *args, **kwargs)
        token = enter(call.span)
        try:
            answer = await method(client, *args, **kwargs)
        except BaseException as error:
            call.over(error)
            raise
        finally:
            leave(token)
        parsed = harmless(partial(_parsed, answer))
        harmless(partial(_listen, call, await parsed if isawaitable(parsed) else parsed))
        return answer

    return request


def _begun(sdk: str, client: object, cast_to: object, options: Any, **_: object) -> Listener | None:
    """Return the call that a request begins; None: it is none, or the host reads the response itself."""
    path, raw = str(options.url).partition("?")[0], getattr(options.headers, "get", lambda _: None)(_RAW)
    if options.method.lower() != "post" or path not in PATHS or raw == "stream":
        return None
    asked = options.json_data if isinstance(options.json_data, Mapping) else {}
    model = asked.get("model")
    named = type(client).__name__
    said = {
        "provider": next((provider for part, provider in PROVIDERS.items() if part in named), sdk),
        "request_model": model if isinstance(model, str) else None,
        **{field: asked[name] for name, field in SETTINGS.items() if name in asked},
    }
    above = current_span()
    if above is not None and above.kind == "llm" and not above.ended and not above.says(RESPONSE_ID):
        above.set_attributes({name: value for name, value in said.items() if not above.says(name)})
        return Listener(above, asked=estimated(asked))
    said[SCOPE] = OURS
    name = f"chat {model}" if isinstance(model, str) else "chat"
    made = span(name, event_type="llm", attributes=said, parent=above or theirs())
    return Listener(made, asked=estimated(asked), own=True)


def _parsed(answer: Any) -> Any:
    """Return what a raw response holds; it keeps that, so the host gets the same. Anything else is what it is."""
    return answer.parse() if hasattr(answer, "http_response") else answer


def _listen(call: Listener, answer: Any) -> None:
    """Have a call hear what its answer says."""
    if not hasattr(answer, "_iterator"):
        call.heard(answer, whole=True)
    else:
        answer._iterator = (AsyncTimed if hasattr(answer, "__aiter__") else Timed)(answer._iterator, call)


def _closing(method: Method) -> Method:
    @wraps(method)
    def close(stream: Any) -> Any:
        chunks = vars(stream).get("_iterator")
        if isinstance(chunks, Timed | AsyncTimed):
            chunks.call.over(left=True)  # before the SDK's own span, so that this one counts
        return method(stream)

    return close
