"""The producer of this process: one buffer, one sender thread, from `configure` to exit, through forks.

The host's threads touch only the buffer. The sender and its Kafka client belong to the sender's thread: a forked child
forgets both, unopened, and starts its own with its first span.
"""

import atexit
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from spanloom import ids, secrecy
from spanloom.buffer import Buffer, Ended, Late
from spanloom.otel.calls import Calls
from spanloom.payloads import can_be_sanitized
from spanloom.sampling import sampled
from spanloom.trace import Facts, Trace

if TYPE_CHECKING:
    from spanloom.sender import Sender
    from spanloom.settings import ProducerSettings

EXIT_SECONDS = 2.0
"""What the end of the process may be held up by flushing."""

_log = logging.getLogger("spanloom")


class Life:
    """What belongs to this process from its (re)birth on: nothing of it survives a fork."""

    def __init__(self, settings: "ProducerSettings | None", buffer: Buffer | None = None) -> None:
        self.settings = settings
        self.token = ids.life
        self.recording = buffer is not None
        self.buffer = buffer if buffer is not None else Buffer(settings.buffer_bytes if settings else 0)
        self.payloads = settings.payloads if settings else 0.0
        self.attributes = settings.attributes if settings else 1.0
        self.calls = Calls()
        self.facts: Facts = {}
        self.learn(settings)
        self.sender: Sender | None = None
        if buffer is None and (settings is None or settings.disabled):
            self.buffer.close("disabled")

    def learn(self, settings: "ProducerSettings | None") -> None:
        """Take the facts that settings state: they hold for every trace of this process."""
        if settings is not None:
            self.facts = {"tenant": settings.tenant} if settings.tenant else {}

    def start(self) -> None:
        """Start the sender, unless it runs or there is nothing to send."""
        settings = self.settings
        if settings is None or settings.disabled or self.sender is not None:
            return
        from spanloom.sender import Sender

        sender = self.sender = Sender(self.buffer, settings, ids.epoch(), calls=self.calls)
        try:
            threading.Thread(target=sender.run, name="spanloom-sender", daemon=True).start()
        except RuntimeError:  # the interpreter is ending, or the host is out of threads
            self.buffer.close("disabled")


_life = Life(None)
_lives: dict[object, Life] = {}


def life() -> Life:
    """Return this process's producer."""
    return _life


def live(life: Life) -> None:
    """Put another producer in its place."""
    global _life
    _life = life


def configured() -> bool:
    """Say whether somebody has said where spans go: to Kafka, or to a recording."""
    return _life.settings is not None or _life.recording


def facts() -> Facts:
    """Return the facts that hold for every trace of this process."""
    return _life.facts


def wants_payloads(trace: Trace) -> bool:
    """Say whether the payloads of a trace are sent: of a sampled share, and never where its caller sampled it out."""
    share = _life.payloads
    return share > 0 and sampled(trace, share)


def offer(span: Ended | Late, size: int) -> None:
    """Take an ended span for sending, or count it as dropped. Never waits, never raises."""
    if _life.token is not ids.life:
        _be_born()
    _life.buffer.put(span, size)


def configure(
    *,
    service: str | None = None,
    environment: str | None = None,
    version: str | None = None,
    host: str | None = None,
    tenant: str | None = None,
    user_pepper: str | None = None,
    kafka_bootstrap: str | None = None,
    buffer_bytes: int | None = None,
    payloads: float | None = None,
    attributes: float | None = None,
    disabled: bool | None = None,
) -> None:
    """Start sending spans to Kafka. Call it once, when the service starts.

    What is not given comes from the `SPANLOOM_…` variables.

    Never raises and never waits: what is wrong with the settings is logged in one line that names the variable, and the
    producer stays disabled (it counts what it drops), because to watch a service must not stop it. A second call closes
    the first producer. A recording of `spanloom.testing` goes on, and nothing is sent.
    """
    given: dict[str, Any] = {name: value for name, value in locals().items() if value is not None}
    settings = _settings(given)
    if settings is not None:
        secrecy.use(settings.user_pepper.reveal())
        secrecy.follow("" if "user_pepper" in given else os.environ.get("SPANLOOM_USER_PEPPER_FILE", ""))
    if _life.recording:
        return _life.learn(settings)
    _end(EXIT_SECONDS)
    return _install(settings)


def flush(timeout: float = 5.0) -> bool:
    """Send what was recorded and wait for the broker's word, at most `timeout` seconds; say whether all arrived."""
    sender = _sender()
    return sender is None or sender.flush(timeout)


def shutdown(timeout: float = EXIT_SECONDS) -> bool:
    """Flush, say goodbye to the ledger and stop; say whether all arrived. What is recorded later is dropped."""
    return _end(timeout)


def dropped() -> dict[str, int]:
    """Return how many spans this process dropped so far, by reason (queue_full, timeout, unreachable, too_large, …)."""
    sender = _life.sender
    refused = (
        {name: tally.read() for name, tally in _life.buffer.refusals._asdict().items()}
        if sender is None
        else sender.dropped()
    )
    return {reason: spans for reason, spans in refused.items() if spans}


def _settings(given: dict[str, Any]) -> "ProducerSettings | None":
    import msgspec
    from spanloom_schemas.settings import Secret, SettingsError, read

    from spanloom.settings import ProducerSettings

    if "user_pepper" in given:
        given["user_pepper"] = Secret(given["user_pepper"])
    try:
        settings = msgspec.structs.replace(read(ProducerSettings), **given)
        if not settings.disabled:
            settings.ssl_context()  # a certificate file that cannot be used is said now, by its variable
        return _sanitizing(settings)
    except SettingsError as error:
        _log.error("%s; the producer stays disabled", error)
    except Exception as error:
        _log.error("the producer cannot be configured and stays disabled: %s: %s", type(error).__name__, error)
    return None


def _sanitizing(settings: "ProducerSettings") -> "ProducerSettings":
    """Return the settings without payloads where nothing can sanitize them."""
    import msgspec

    if not settings.payloads or can_be_sanitized():
        return settings
    _log.warning("SPANLOOM_PAYLOADS needs google-re2: payloads stay off; install 'spanloom[payloads]'")
    return msgspec.structs.replace(settings, payloads=0.0)


def _install(settings: "ProducerSettings | None") -> None:
    before = _life
    live(Life(settings))
    if before.sender is None:
        _life.buffer.refusals = (
            before.buffer.refusals
        )  # what was dropped before there was a producer is part of its ledger
    _life.start()
    _catch_sigterm()


def _end(timeout: float) -> bool:
    sender = _sender()
    if sender is None:
        return True
    _life.buffer.close("shutdown")
    return sender.shutdown(timeout)


def _sender() -> "Sender | None":
    """Return the sender, unless it is that of the process this one was forked from."""
    return _life.sender if _life.token is ids.life else None


def _be_born() -> None:
    """Begin anew in a forked child: an empty buffer, a new epoch, a sender of its own."""
    born = Life(_life.settings)
    live(_lives.setdefault(born.token, born))  # of several threads at once, one wins
    if _life is not born:
        return
    born.start()
    if workers := sys.modules.get("multiprocessing.util"):  # a forked worker ends by os._exit, without atexit
        workers.Finalize(None, _at_exit, exitpriority=0)


def _catch_sigterm() -> None:
    """Flush on SIGTERM too, where the host left it to its default: to die at once. The process still dies of it."""
    if threading.current_thread() is threading.main_thread():
        with suppress(ValueError, OSError):
            if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(number: int, frame: object) -> None:
    _end(EXIT_SECONDS)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def _at_exit() -> None:
    _end(EXIT_SECONDS)


os.register_at_fork(after_in_child=ids.renew)
atexit.register(_at_exit)
