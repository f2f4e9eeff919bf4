"""`spanloom probe` with a real broker behind it."""

import os
import signal
import subprocess
import sys
import threading
import urllib.request
import uuid
from typing import Any

import pynvml
from confluent_kafka import Consumer, TopicPartition
from spanloom import topics_command
from spanloom.probe.running import run
from spanloom.probe.settings import ProbeSettings
from spanloom_schemas import codec
from spanloom_schemas.settings import KafkaSettings

from tests.producers.probe.nvml import Gpu, Nvml

READINGS = 2


class Watched(Nvml):
    """NVML that fills its GPU a bit more at each reading, looks at /metrics at the last, and ends the probe then."""

    def __init__(self, stop: threading.Event, said: list[str]) -> None:
        super().__init__(Gpu(), Gpu(refuses={"": pynvml.NVML_ERROR_GPU_IS_LOST}))
        self.stop, self.said = stop, said
        self.shut = self.scraped = ""

    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any:
        rates = super().nvmlDeviceGetUtilizationRates(handle)
        handle[1].utilization += 10
        if handle[1].utilization == 40 + 10 * READINGS:
            port = dict(pair.split("=") for pair in self.said[0].split()[1:])["metrics"]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                self.scraped = answer.read().decode()
            self.stop.set()
        return rates

    def nvmlShutdown(self) -> None:
        self.shut = "down"


def sent(kafka: str, host: str) -> list[dict[str, Any]]:
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": uuid.uuid4().hex})
    part = TopicPartition("llm.samples", 0, 0)
    end = consumer.get_watermark_offsets(part)[1]
    consumer.assign([part])
    found = []
    while consumer.position([part])[0].offset < end:
        message = consumer.poll(1.0)
        if message is not None and message.error() is None and message.key() == f"default:{host}".encode():
            found.append(codec.decode(message.value())[2])
    consumer.close()
    return found


def test_what_was_read_is_in_kafka_when_the_probe_has_ended(kafka: str) -> None:
    topics_command.apply(KafkaSettings(kafka_bootstrap=kafka))
    host, stop, said = uuid.uuid4().hex, threading.Event(), list[str]()
    nvml = Watched(stop, said)
    run(ProbeSettings(kafka_bootstrap=kafka, host=host, probe_metrics_port=0), stop, said.append, nvml)
    assert said[0].startswith("ready gpus=2 ")
    assert 'llm_gpu_utilization_percent{gpu_id="0"} 40.0' in nvml.scraped  # of the reading before
    assert 'llm_gpu_memory_used_bytes{gpu_id="0"}' in nvml.scraped
    assert 'gpu_id="1"' not in nvml.scraped
    assert nvml.shut
    batches = sent(kafka, host)
    assert len({batch["epoch"] for batch in batches}) == 1
    samples = [sample for batch in batches for sample in batch["samples"]]
    used = [sample for sample in samples if (sample["gpu_id"], sample["quantity"]) == ("0", "gpu_utilization")]
    assert sum(sample["count"] for sample in used) == READINGS
    assert sum(sample["sum"] for sample in used) == (40 + 50) * 10_000
    lost = [sample for sample in samples if sample["gpu_id"] == "1"]
    assert sum(sample["failed"] for sample in lost) == 6 * READINGS
    assert {sample["sum"] for sample in lost} == {None}
    machine = [sample for sample in samples if sample["quantity"] == "memory_used"]
    assert sum(sample["count"] for sample in machine) == READINGS


def test_without_a_gpu_the_command_says_so_once_and_ends_cleanly_with_kafka_away() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("SPANLOOM_")}
    env |= {"SPANLOOM_KAFKA_BOOTSTRAP": "127.0.0.1:1", "SPANLOOM_PROBE_METRICS_PORT": "0"}
    # No driver may be found, whatever this machine has.
    hidden = "pynvml._LoadNvmlLibrary = lambda: pynvml._nvmlCheckReturn(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)"
    code = f"import pynvml; {hidden}; import spanloom.cli as c; c.main()"
    command = [sys.executable, "-c", code, "probe"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready gpus=0 ")
        process.send_signal(signal.SIGTERM)
        errors = process.communicate(timeout=30)[1]
    assert process.returncode == 0, errors
    assert errors.count("no GPU can be read (NVML Shared Library Not Found): samples of the machine only") == 1


def test_without_its_extra_the_command_says_what_to_install() -> None:
    code = "import sys; sys.modules['pynvml'] = None; import spanloom.cli as c; c.main()"
    done = subprocess.run([sys.executable, "-c", code, "probe"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "pip install 'spanloom[probe]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_probe_is_no_part_of_what_a_service_imports() -> None:
    code = "import sys, spanloom, spanloom.sender, spanloom.process; print([n for n in sys.modules if 'probe' in n])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"
