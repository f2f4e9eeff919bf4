"""NVML as pynvml has it: the real module's functions and errors, for GPUs that a test makes up."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml


@dataclass
class Gpu:
    """`refuses`: by function the error that it ends with; under "" every function's."""

    utilization: int = 40
    used: int = 10 << 30
    power: int = 300_000
    temperature: int = 50
    computing: tuple[int, ...] = (7, 8)
    drawing: tuple[int, ...] = (8,)
    refuses: dict[str, int] = field(default_factory=dict)


class Nvml:
    """Stands where the module pynvml does."""

    NVMLError = pynvml.NVMLError
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU

    def __init__(self, *gpus: Gpu, init: int = pynvml.NVML_SUCCESS) -> None:
        self.gpus = gpus
        self.init = init

    def nvmlInit(self) -> None:
        if self.init:
            raise pynvml.NVMLError(self.init)

    def nvmlShutdown(self) -> None:
        pass

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> tuple[int, Gpu]:
        self._of((index, self.gpus[index]), "nvmlDeviceGetHandleByIndex")
        return index, self.gpus[index]

    def nvmlDeviceGetUUID(self, handle: Any) -> str:
        self._of(handle, "nvmlDeviceGetUUID")
        return f"GPU-{handle[0]}"

    def nvmlDeviceGetName(self, handle: Any) -> str:
        self._of(handle, "nvmlDeviceGetName")
        return "NVIDIA H200"

    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any:
        return SimpleNamespace(gpu=self._of(handle, "nvmlDeviceGetUtilizationRates").utilization, memory=3)

    def nvmlDeviceGetMemoryInfo(self, handle: Any, version: int | None = None) -> Any:
        used = self._of(handle, "nvmlDeviceGetMemoryInfo").used
        return SimpleNamespace(total=139 << 30, used=used, free=(139 << 30) - used)

    def nvmlDeviceGetPowerUsage(self, handle: Any) -> int:
        return self._of(handle, "nvmlDeviceGetPowerUsage").power

    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int) -> int:
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        return self._of(handle, "nvmlDeviceGetTemperature").temperature

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> list[Any]:
        return [SimpleNamespace(pid=pid) for pid in self._of(handle, "nvmlDeviceGetComputeRunningProcesses").computing]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: Any) -> list[Any]:
        return [SimpleNamespace(pid=pid) for pid in self._of(handle, "nvmlDeviceGetGraphicsRunningProcesses").drawing]

    def _of(self, handle: tuple[int, Gpu], function: str) -> Gpu:
        refused = handle[1].refuses
        error = refused.get(function) or refused.get("")
        if error:
            raise pynvml.NVMLError(error)
        return handle[1]
