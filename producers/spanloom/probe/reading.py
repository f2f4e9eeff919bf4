"""What is read: one quantity of one device at one moment. Integers, so that sums are exact."""

from typing import NamedTuple

RATIO = 1_000_000
"""A utilization of all there is."""


class Device(NamedTuple):
    """A GPU, or the machine itself: then all is empty."""

    gpu_id: str = ""
    """NVML's index."""
    gpu_uuid: str = ""
    gpu_model: str = ""


class Reading(NamedTuple):
    """`value`: in the unit of its quantity, as the schema `sample_batch` has it; None: the device did not answer."""

    device: Device
    quantity: str
    value: int | None
