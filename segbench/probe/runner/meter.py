"""Counts networks and measures this machine for `segbench plan`; results are kept."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from pathlib import Path

from segbench.errors import SegbenchError
from segbench.files import read_json, write_json
from segbench.jobs.cost import counts
from segbench.jobs.cost.counted import Counted
from segbench.jobs.cost.devices import Device, gpu
from segbench.jobs.cost.work import Network

MEASURED = Path(".snakemake/segbench/processor.json")
"""Speed of one core of a processor, by its name."""


class LazyMeter:
    """Imports torch only for what is not known yet."""

    def count(self, network: Network) -> Counted:
        """Count a network, or return what was counted before."""
        if found := counts.known(network):
            return found
        from segbench.probe.count import count

        made = count(network)
        counts.keep(network, made)
        return made

    def here(self) -> Device:
        """Return the first GPU of this machine if it has one, else one core of its processor."""
        return self._here

    @cached_property
    def _here(self) -> Device:
        import torch

        from segbench.training.runner.provenance import provenance

        if torch.cuda.is_available():
            name = torch.cuda.get_device_name()
            with suppress(SegbenchError):
                return gpu(name)
        return processor(provenance(torch.device("cpu"))["processor"])


def processor(name: str) -> Device:
    """Return one core of a processor; its speed is measured once in a working folder."""
    with suppress(SegbenchError, OSError, KeyError, TypeError):
        known = read_json(MEASURED)[name]
        return Device(name, False, known["tflops"], known["bandwidth"], None)
    from segbench.probe.peak import this_processor

    found = this_processor(name)
    if MEASURED.parents[1].is_dir():  # a folder in which Snakemake runs
        write_json(MEASURED, {name: {"tflops": dict(found.tflops), "bandwidth": found.bandwidth}})
    return found
