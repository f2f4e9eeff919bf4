"""What is read of GPUs and of the machine, and what of them that cannot be read."""

import time
from collections import namedtuple
from types import SimpleNamespace

import psutil
import pynvml
import pytest
from spanloom.probe.machine import Machine
from spanloom.probe.metrics import Metrics
from spanloom.probe.nvml import Gpus, NoGpus
from spanloom.probe.reading import RATIO, Device, Reading

from tests.producers.probe.nvml import Gpu, Nvml

SAID = {
    "gpu_utilization": 400_000, "gpu_memory_used": 10 << 30, "gpu_memory_total": 139 << 30, "gpu_power": 300_000,
    "gpu_temperature": 50, "gpu_processes": 2,
}  # fmt: skip


def of(readings: list[Reading], gpu_id: str) -> dict[str, int | None]:
    return {quantity: value for device, quantity, value in readings if device.gpu_id == gpu_id}


def test_every_function_that_tests_stand_in_for_is_one_of_pynvml() -> None:
    own = [name for name in vars(Nvml) if name.startswith("nvml")]
    assert len(own) == 12
    assert all(callable(getattr(pynvml, name)) for name in own)


def test_every_quantity_of_a_gpu_is_read_and_a_process_that_computes_and_draws_counts_once() -> None:
    readings = Gpus(Nvml(Gpu())).read()
    assert of(readings, "0") == SAID
    assert {reading.device for reading in readings} == {Device("0", "GPU-0", "NVIDIA H200")}


@pytest.mark.parametrize("error", [pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NO_PERMISSION])
def test_what_a_gpu_does_not_support_is_null_and_the_rest_is_read(error: int) -> None:
    silent = Gpu(refuses={"nvmlDeviceGetUtilizationRates": error, "nvmlDeviceGetGraphicsRunningProcesses": error})
    assert of(Gpus(Nvml(silent)).read(), "0") == SAID | {"gpu_utilization": None}


def test_a_lost_gpu_is_null_keeps_its_name_and_does_not_harm_the_others() -> None:
    lost, well = Gpu(), Gpu(utilization=100)
    gpus = Gpus(Nvml(lost, well))
    gpus.read()
    lost.refuses[""] = pynvml.NVML_ERROR_GPU_IS_LOST
    readings = gpus.read()
    assert of(readings, "0") == dict.fromkeys(SAID)
    assert of(readings, "1") == SAID | {"gpu_utilization": RATIO}
    assert readings[0].device == Device("0", "GPU-0", "NVIDIA H200")


@pytest.mark.parametrize(
    ("nvml", "why"),
    [
        (Nvml(init=pynvml.NVML_ERROR_LIBRARY_NOT_FOUND), "Not Found"),
        (Nvml(Gpu(), init=pynvml.NVML_ERROR_DRIVER_NOT_LOADED), "Driver Not Loaded"),
        (Nvml(), "the driver knows none"),
    ],
)
def test_a_machine_without_a_gpu_says_why(nvml: Nvml, why: str) -> None:
    with pytest.raises(NoGpus, match=why):
        Gpus(nvml)


def test_a_gpu_that_stops_answering_has_no_value_in_metrics() -> None:
    metrics, gpu = Metrics(), Gpu()
    gpus = Gpus(Nvml(gpu))
    metrics.read(gpus.read())
    value = metrics.registry.get_sample_value
    assert value("llm_gpu_utilization_percent", {"gpu_id": "0"}) == 40
    assert value("llm_gpu_memory_used_bytes", {"gpu_id": "0"}) == 10 << 30
    gpu.refuses[""] = pynvml.NVML_ERROR_GPU_IS_LOST
    for _ in range(2):
        metrics.read(gpus.read())
        assert value("llm_gpu_utilization_percent", {"gpu_id": "0"}) is None


Counted = namedtuple("Counted", ["bytes_sent", "bytes_recv"])


def test_network_is_what_moved_since_the_last_reading_and_loopback_is_none() -> None:
    told = iter([
        {"lo": Counted(9, 9), "eth0": Counted(1000, 50)},
        {"lo": Counted(99, 99), "eth0": Counted(1300, 60), "eth1": Counted(10**12, 10**12)},
        {"eth0": Counted(5, 61), "eth1": Counted(10**12 + 7, 10**12)},
    ])  # fmt: skip
    memory = SimpleNamespace(total=1000, available=400)
    machine = Machine(
        SimpleNamespace(
            cpu_percent=lambda: 12.5, virtual_memory=lambda: memory, net_io_counters=lambda pernic: next(told)
        )
    )
    first, second = of(machine.read(), ""), of(machine.read(), "")
    assert first == {
        "cpu_utilization": 125_000, "memory_used": 600, "memory_total": 1000, "network_sent": 300,
        "network_received": 10,
    }  # fmt: skip
    assert (second["network_sent"], second["network_received"]) == (7, 1)  # a counter that begins anew


def test_this_machine_is_read() -> None:
    machine = Machine(psutil)
    until = time.monotonic() + 0.05
    while time.monotonic() < until:
        pass
    said = of(machine.read(), "")
    assert all(isinstance(value, int) and value >= 0 for value in said.values())
    assert 0 < said["memory_used"] < said["memory_total"]  # type: ignore[operator]
    assert said["cpu_utilization"] <= RATIO  # type: ignore[operator]


def test_the_gpus_of_this_machine_are_read() -> None:
    try:
        gpus = Gpus(pynvml)
    except NoGpus as error:
        pytest.skip(f"no GPU here: {error}")
    said = of(gpus.read(), "0")
    gpus.close()
    assert said["gpu_memory_total"] > 1 << 30  # type: ignore[operator]
    assert 0 <= said["gpu_memory_used"] <= said["gpu_memory_total"]  # type: ignore[operator]
    assert said["gpu_utilization"] is None or 0 <= said["gpu_utilization"] <= RATIO  # MIG has none
    assert 0 < said["gpu_temperature"] < 120  # type: ignore[operator]
