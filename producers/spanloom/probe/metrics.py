"""What the probe says to Prometheus: its GPUs as they were read last, and what became of its messages."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from spanloom.probe.reading import RATIO, Reading


class Metrics:
    """The probe's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._gauges = {
            "gpu_utilization": Gauge(
                "llm_gpu_utilization_percent", "Time in which a kernel ran", ["gpu_id"], registry=registry
            ),
            "gpu_memory_used": Gauge("llm_gpu_memory_used_bytes", "Memory in use", ["gpu_id"], registry=registry),
        }
        self._shown: set[tuple[str, str]] = set()
        self.messages = Counter(
            "spanloom_probe_messages", "Messages that Kafka has, or never got", ["outcome"], registry=registry
        )

    def read(self, readings: Iterable[Reading]) -> None:
        """Show readings. A GPU that does not answer has no value: its last one would look like a live one."""
        for device, quantity, value in readings:
            gauge = self._gauges.get(quantity)
            if gauge is None:
                continue
            shown = quantity, device.gpu_id
            if value is not None:
                gauge.labels(device.gpu_id).set(value * 100 / RATIO if quantity == "gpu_utilization" else value)
                self._shown.add(shown)
            elif shown in self._shown:
                gauge.remove(device.gpu_id)
                self._shown.remove(shown)
