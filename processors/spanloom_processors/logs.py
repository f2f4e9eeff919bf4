"""Logging of a service: one line an event on stderr, and of the libraries only what needs attention."""

import logging

FORMAT = "%(asctime)s level=%(levelname)s logger=%(name)s %(message)s"
# Faust, mode and aiokafka log every step of every rebalance at INFO, and lost connections, which are retried, at ERROR.
# Our subclasses of Faust's services log as the modules that they are in.
LIBRARIES = {
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    "mode.timers": logging.ERROR,  # late timers: a fold may take a tenth of a second
    "aiokafka": logging.CRITICAL,
    "stamina": logging.ERROR,
    "spanloom_processors.app": logging.WARNING,
    "spanloom_processors.consumer": logging.WARNING,
}


class OneLine(logging.Formatter):
    """A formatter whose records, tracebacks included, are one line each."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record on one line."""
        return super().format(record).replace("\n", " | ")


def configure(level: int = logging.INFO) -> None:
    """Set up the process's logging."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine(FORMAT))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name, least in LIBRARIES.items():
        logging.getLogger(name).setLevel(least)
