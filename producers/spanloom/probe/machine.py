"""The machine itself, by psutil: all its CPUs, its memory, what went over its network."""

from typing import Any

from spanloom.probe.reading import RATIO, Device, Reading

_MACHINE = Device()


class Machine:
    """A reader of the machine; CPU and network are told of the time since the reading before, or since it was made.

    `psutil`: the module. The loopback interface is no network.
    """

    def __init__(self, psutil: Any) -> None:
        self._psutil = psutil
        psutil.cpu_percent()  # its first answer means nothing
        self._counters = self._network()

    def read(self) -> list[Reading]:
        """All quantities of the machine."""
        memory = self._psutil.virtual_memory()
        sent, received = self._moved()
        values = {
            "cpu_utilization": round(self._psutil.cpu_percent() * (RATIO / 100)),
            "memory_used": int(memory.total - memory.available),
            "memory_total": int(memory.total),
            "network_sent": sent,
            "network_received": received,
        }
        return [Reading(_MACHINE, quantity, value) for quantity, value in values.items()]

    def _moved(self) -> tuple[int, int]:
        """Bytes since the last reading, of the interfaces that were there then: a new one has counted before."""
        before, self._counters = self._counters, self._network()
        moved = [
            (now.bytes_sent - before[name].bytes_sent, now.bytes_recv - before[name].bytes_recv)
            for name, now in self._counters.items()
            if name in before
        ]
        return sum(max(0, sent) for sent, _ in moved), sum(max(0, received) for _, received in moved)

    def _network(self) -> dict[str, Any]:
        counters = self._psutil.net_io_counters(pernic=True)
        return {name: counted for name, counted in counters.items() if not name.lower().startswith("lo")}
