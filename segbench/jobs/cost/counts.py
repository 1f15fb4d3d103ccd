"""Counts of networks: those that come with the package, and those that `segbench plan` has made here."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from segbench.errors import SegbenchError
from segbench.files import read_json, write_json
from segbench.jobs.cost.counted import Counted
from segbench.jobs.cost.work import Network
from segbench.jobs.fingerprint import fingerprint

SHIPPED = Path(__file__).with_name("counts.json")
"""Counts by `Network.key`; `python -m benchmarks.training_cost --write` makes them."""
MADE = Path(".snakemake/segbench/counts")
"""Counts that were made here, one file for each network and its code."""
_COUNTS = TypeAdapter(dict[str, Counted])


@cache
def shipped() -> dict[str, Counted]:
    """Return the counts that come with the package, by `Network.key`."""
    return _COUNTS.validate_json(SHIPPED.read_bytes()) if SHIPPED.exists() else {}


def known(network: Network) -> Counted | None:
    """Return the count of a network, or None if nobody has made it."""
    if found := shipped().get(network.key):
        return found
    if not MADE.is_dir():
        return None
    with suppress(SegbenchError, OSError, ValidationError):
        return Counted.model_validate(read_json(_path(network)))
    return None


def keep(network: Network, counted: Counted) -> None:
    """Keep a count for later plans, and for what the rules request."""
    write_json(_path(network), counted.model_dump())


def write_shipped(counts: dict[str, Counted]) -> None:
    """Write the counts that come with the package."""
    write_json(SHIPPED, {key: counts[key].model_dump() for key in sorted(counts)}, indent=0)


def _path(network: Network) -> Path:
    code = fingerprint("segbench.models.network", network.class_path.partition(":")[0])
    return MADE / f"{network.key}-{code}.json"
