"""Runs the items of all parts, each part within its share of the time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.gpu.budget import SHORTEST, share
from benchmarks.gpu.worker import Record, Worker


class Item(NamedTuple):
    """A call in the worker, which returns a result."""

    name: str
    call: Callable[..., dict[str, Any]]
    arguments: tuple[Any, ...]


class Part(NamedTuple):
    name: str
    weight: float
    """Share of the time."""
    items: list[Item]


def run_all(chosen: list[Part], seconds: float, write: Callable[[list[Record]], None]) -> list[Record]:
    """Run all items within about the given seconds, and return what has become of them."""
    worker, end, records = Worker(), time.monotonic() + seconds, []
    try:
        for number, part in enumerate(chosen):
            own = share(end - time.monotonic(), [one.weight for one in chosen[number:]])
            until = time.monotonic() + own
            for item in part.items:
                left = until - time.monotonic()
                if left > 0:
                    limit = max(left, SHORTEST)
                    record = worker.run(part.name, item.name, item.call, item.arguments, limit)
                else:
                    record = Record(
                        part.name, item.name, "skipped", "no time left: use more --minutes", 0.0, {}
                    )
                records.append(record)
                print(
                    f"{part.name}: {item.name}: {record.status} {record.reason}", file=sys.stderr, flush=True
                )
                write(records)
    finally:
        worker.close()
    return records


def failed_checks(records: list[Record]) -> list[str]:
    """Return the networks whose losses differ from those of the processor, or could not be compared."""
    return [r.item for r in records if r.part == "equality" and r.status == "failed"]
