"""Readings summed up over ten seconds. Pure.

The probe alone sees its readings, in their order, so what it sums up is final: a pane is told once, under a key that
nobody else uses, and windows are sums of panes.
"""

from collections.abc import Iterable
from typing import Any

from spanloom.probe.reading import Device, Reading

PANE_MS = 10_000

Pane = dict[str, Any]
"""The fields `epoch`, `start` and `samples` of a `sample_batch`."""


class _Sum:
    __slots__ = ("count", "failed", "highest", "lowest", "sum")

    def __init__(self) -> None:
        self.count = self.failed = self.sum = 0
        self.lowest: int | None = None
        self.highest: int | None = None

    def add(self, value: int | None) -> None:
        if value is None:
            self.failed += 1
            return
        self.count += 1
        self.sum += value
        self.lowest = value if self.lowest is None else min(self.lowest, value)
        self.highest = value if self.highest is None else max(self.highest, value)


class Panes:
    """The pane that is open. `epoch`: random, no other start of a probe has it or one of the next few."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._start = 0
        self._sums: dict[tuple[str, str], _Sum] = {}
        self._devices: dict[str, Device] = {}

    def add(self, now_ms: int, readings: Iterable[Reading]) -> Pane | None:
        """Add readings of one moment; return the pane that is over by it. A clock that was set back begins an epoch."""
        start = now_ms // PANE_MS * PANE_MS
        over = self.close() if start != self._start else None
        if start < self._start:
            self._epoch += 1
        self._start = start
        for device, quantity, value in readings:
            self._devices[device.gpu_id] = device
            self._sums.setdefault((device.gpu_id, quantity), _Sum()).add(value)
        return over

    def close(self) -> Pane | None:
        """Take the open pane, if something was read in it."""
        if not self._sums:
            return None
        samples = [self._sample(gpu_id, quantity, total) for (gpu_id, quantity), total in self._sums.items()]
        self._sums = {}
        return {"epoch": self._epoch, "start": self._start, "samples": samples}

    def _sample(self, gpu_id: str, quantity: str, total: _Sum) -> dict[str, Any]:
        return {
            **self._devices[gpu_id]._asdict(),
            "quantity": quantity,
            "count": total.count,
            "failed": total.failed,
            "sum": total.sum if total.count else None,
            "lowest": total.lowest,
            "highest": total.highest,
        }
