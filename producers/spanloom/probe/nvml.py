"""The door to NVML: what a GPU cannot say, or no longer says, is None."""

from collections.abc import Callable
from typing import Any

from spanloom.probe.reading import RATIO, Device, Reading


class NoGpus(Exception):
    """There is no GPU that NVML could read; the message says why."""


class Gpus:
    """The GPUs that NVML found when this was made; each is looked up anew at every reading.

    `nvml`: the module pynvml. Raises NoGpus where there is no driver, or no GPU.
    """

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        try:
            nvml.nvmlInit()
            self.count = int(nvml.nvmlDeviceGetCount())
        except nvml.NVMLError as error:
            raise NoGpus(str(error)) from None
        if not self.count:
            raise NoGpus("the driver knows none")
        self._devices = [Device(str(index)) for index in range(self.count)]

    def read(self) -> list[Reading]:
        """All quantities of all GPUs."""
        return [reading for index in range(self.count) for reading in self._of(index)]

    def close(self) -> None:
        """Let go of the driver."""
        self._asked(self._nvml.nvmlShutdown)

    def _of(self, index: int) -> list[Reading]:
        handle = self._asked(self._nvml.nvmlDeviceGetHandleByIndex, index)
        device = self._devices[index] = self._named(index, handle)
        rates = self._asked_of(handle, self._nvml.nvmlDeviceGetUtilizationRates)
        memory = self._asked_of(handle, self._nvml.nvmlDeviceGetMemoryInfo)
        sensor = self._nvml.NVML_TEMPERATURE_GPU
        values = {
            "gpu_utilization": None if rates is None else int(rates.gpu) * (RATIO // 100),
            "gpu_memory_used": None if memory is None else int(memory.used),
            "gpu_memory_total": None if memory is None else int(memory.total),
            "gpu_power": self._asked_of(handle, self._nvml.nvmlDeviceGetPowerUsage),
            "gpu_temperature": self._asked_of(handle, self._nvml.nvmlDeviceGetTemperature, sensor),
            "gpu_processes": self._processes(handle),
        }
        return [Reading(device, quantity, value) for quantity, value in values.items()]

    def _named(self, index: int, handle: Any) -> Device:
        """The device with its names, asked for until they are told: a GPU may be lost from the start."""
        known = self._devices[index]
        if known.gpu_uuid:
            return known
        uuid, model = (
            self._asked_of(handle, ask) or "" for ask in (self._nvml.nvmlDeviceGetUUID, self._nvml.nvmlDeviceGetName)
        )
        return Device(known.gpu_id, uuid, model)

    def _processes(self, handle: Any) -> int | None:
        """Processes that compute or draw; one that does both counts once."""
        kinds = (self._nvml.nvmlDeviceGetComputeRunningProcesses, self._nvml.nvmlDeviceGetGraphicsRunningProcesses)
        told = [found for ask in kinds if (found := self._asked_of(handle, ask)) is not None]
        return len({process.pid for found in told for process in found}) if told else None

    def _asked_of(self, handle: Any, ask: Callable[..., Any], *more: Any) -> Any:
        return None if handle is None else self._asked(ask, handle, *more)

    def _asked(self, ask: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return ask(*arguments)
        except self._nvml.NVMLError:  # lost, not supported, not permitted: of this GPU and this question only
            return None
