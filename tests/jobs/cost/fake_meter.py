"""A meter for tests: networks of known cost, on a device of known speed."""

from __future__ import annotations

from segbench.jobs.cost.counted import Counted, Line
from segbench.jobs.cost.devices import Device
from segbench.jobs.cost.work import Network

COUNTED = Counted(
    forward=Line(fixed=0, by_pixel=1e6),
    kept=Line(fixed=0, by_pixel=2000),
    prediction=Line(fixed=0, by_pixel=2e6),
    parameters=10**6,
)


class FakeMeter:
    """Remembers what it was asked to count."""

    def __init__(self, device: Device | None = None) -> None:
        self.device = device or Device("core", False, {"fp32": 0.1}, 10, None)
        self.asked: list[Network] = []

    def count(self, network: Network) -> Counted:
        self.asked.append(network)
        return COUNTED

    def here(self) -> Device:
        return self.device
