"""Speed, memory, equality with the processor and a small run on a GPU, in one command.

    python -m benchmarks.gpu [NAME ...] [--minutes 10] [--out results/gpu] [--all]
    python -m benchmarks.gpu --device cpu --quick

Without names, all networks, the most important ones first: in the default precision, then compiled, then in
fp32. What gets no time is listed as skipped; more minutes, or names, measure it. `--all` compares the losses
of all networks with those of the processor, else one of each task. Results are in OUT.json and OUT.md,
written after each item. The status is 1 if the losses of a network differ, or could not be compared.

With several GPUs, the first one of CUDA_VISIBLE_DEVICES. Nothing else should use it, or the processor.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from pathlib import Path

import torch

from benchmarks.gpu import equality, loader, networks, peers, pipeline
from benchmarks.gpu.facts import facts
from benchmarks.gpu.run import Item, Part, failed_checks, run_all
from benchmarks.gpu.table import page
from benchmarks.gpu.worker import Record
from benchmarks.gpu.works import QUICK_BATCH, QUICK_SIDE, works
from benchmarks.loading import CASES
from benchmarks.steps import PAIRS
from segbench.errors import SegbenchError
from segbench.files import write_json, write_text
from segbench.jobs.cost.work import Work
from segbench.training.precision import Precision, pick_device

QUICK = ("pspnet_resnet50", "mask2former_resnet50")
QUICK_PEER = "deeplabv3plus_resnet50"
CHECKED = (
    *("deeplabv3plus_resnet50", "faster_rcnn_resnet50_fpn", "mask_rcnn_resnet50_fpn"),
    "mask2former_resnet50",
)
"""One network of each task whose losses are compared."""


def parts(options: argparse.Namespace, device: str) -> list[Part]:
    """Return all parts in their order."""
    quick = options.quick
    known = works(options.names or list(QUICK if quick else ()), quick)
    checked = list(known) if options.all or options.names else [*CHECKED][: 1 if quick else None]
    compared = known if options.all or options.names else works(checked, quick)
    paired = options.names or ([QUICK_PEER] if quick else list(PAIRS))
    size, batch, steps = (QUICK_SIDE, QUICK_BATCH, 1) if quick else (512, 8, 10)
    side = 128 if quick else 256
    sets = list(CASES)[-1:] if quick else list(CASES)
    workers = 1 if quick else len(os.sched_getaffinity(0))
    run = ("auto", ["unet_mini", "deeplabv3plus_resnet50"], 20, 64)
    if quick:
        run = ("cpu", ["unet_mini"], 2, 32)
    return [
        Part("facts", 1, [Item("device", facts, (device,))]),
        Part("equality", 15, [Item(n, equality.check, (n, compared[n], device, side, 2)) for n in checked]),
        Part("networks", 45, steps_of(known, device, quick)),
        Part(
            "peers",
            15,
            [Item(n, peers.compare, (n, device, size, batch, steps)) for n in paired if n in PAIRS],
        ),
        Part(
            "loader",
            10,
            [Item(s, loader.rates, (s, device, workers, 0.5 if quick else 4.0)) for s in sets],
        ),
        Part("pipeline", 14, [Item("run", pipeline.run, run)]),
    ]


def steps_of(known: dict[str, Work], device: str, quick: bool) -> list[Item]:
    """Return the measurements of networks: the default precision, compiled, fp32; `quick`: the first only."""
    default = Precision.of("auto", torch.device(device)).name
    ways = [(default, False), (default, True), *([("fp32", False)] if default != "fp32" else [])]
    return [
        Item(
            f"{name} {kind}{' compiled' * compiled}",
            networks.measure,
            (name, work, kind, compiled, device, 1 if quick else 10),
        )
        for kind, compiled in (ways[:1] if quick else ways)
        for name, work in known.items()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks; by default, all")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="a tiny run of every part")
    parser.add_argument("--all", action="store_true", help="compare the losses of all networks")
    parser.add_argument("--out", type=Path, default=Path("results/gpu"), help="path without suffix")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the worker is ended, too
    try:
        pick_device(options.device)
        chosen = parts(options, options.device)
    except SegbenchError as error:
        parser.error(str(error))
    command = shlex.join(["python", "-m", "benchmarks.gpu", *sys.argv[1:]])

    def write(records: list[Record]) -> None:
        write_json(f"{options.out}.json", {"command": command, "records": [r._asdict() for r in records]})
        write_text(f"{options.out}.md", page(records, command))

    records = run_all(chosen, 60 * options.minutes, write)
    print(page(records, command))
    if wrong := failed_checks(records):
        print(f"losses differ or could not be compared: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
