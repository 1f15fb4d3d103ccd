"""The Markdown tables of a run, as benchmarks/README.md shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.gpu.worker import Record
from segbench.units import NOTHING, duration, markdown_text, memory

Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], str]]


def table(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """Return the lines of a table: the first column to the left, the others to the right."""
    heads = [head for head, _ in columns]
    lines = [heads, ["---", *["---:"] * (len(columns) - 1)]]
    lines += [[text(row) for _, text in columns] for row in rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _size(row: Row) -> str:
    return "{} x {}".format(*row["size"])


NETWORKS: list[Column] = [
    ("Network", lambda r: f"`{r['network']}`"),
    ("Task", lambda r: r["task"]),
    ("Precision", lambda r: r["precision"] + (", compiled" if r["compiled"] else "")),
    ("Crop", _size),
    ("Batch / accumulate", lambda r: f"{r['batch']} / {r['accumulate']}"),
    ("Images/s", lambda r: f"{r['images_per_second']:.3g}"),
    ("Memory", lambda r: memory(r["memory"])),
    ("Of the peak", lambda r: NOTHING if r["share"] is None else f"{r['share']:.0%}"),
]
PEERS: list[Column] = [
    ("Network", lambda r: f"`{r['network']}`"),
    ("Beside", lambda r: r["library"]),
    ("Crop", lambda r: f"{r['size']} x {r['size']}"),
    ("Batch", lambda r: str(r["batch"])),
    ("Ours", lambda r: f"{duration(r['ours'])} ({r['precision']})"),
    ("Theirs", lambda r: f"{duration(r['theirs'])} (fp32)"),
    ("Times as fast", lambda r: f"{r['times_as_fast']:.2f}"),
]
LOADER: list[Column] = [
    ("Images", lambda r: r["images"]),
    ("Without processes", lambda r: f"{r['alone']:.3g}/s"),
    ("Processes", lambda r: str(r["workers"])),
    ("With them", lambda r: f"{r['with_workers']:.3g}/s"),
]
EQUALITY: list[Column] = [
    ("Network", lambda r: f"`{r['network']}`"),
    ("Task", lambda r: r["task"]),
    ("Largest difference", lambda r: f"{r['difference']:.1e}"),
]
PIPELINE: list[Column] = [
    ("Network", lambda r: f"`{r['model']}`"),
    ("Precision", lambda r: r["precision"]),
    ("Device", lambda r: markdown_text(r["device"])),
]
TITLES = {
    "networks": "Training steps",
    "peers": "Ours beside other libraries",
    "loader": "The loader",
    "equality": "Losses of the device and of the processor, fp32",
    "pipeline": "A run of the pipeline",
}
COLUMNS = {"networks": NETWORKS, "peers": PEERS, "loader": LOADER, "equality": EQUALITY, "pipeline": PIPELINE}


def page(records: Sequence[Record], command: str) -> str:
    """Return the Markdown of all parts, with what has failed or was skipped and why.

    Args:
        records: what has become of all items.
        command: the command that made them.
    """
    device = next((r.result for r in records if r.part == "facts" and r.status == "ok"), {})
    lines = [f"{_device(device)} `{command}`"]
    for part, title in TITLES.items():
        own = [record for record in records if record.part == part]
        rows = [record.result for record in own if record.status == "ok"]
        if part == "pipeline":
            rows = [cell for row in rows for cell in row["cells"]]
        lines += ["", f"### {title}"]
        if rows:
            lines += ["", *table(COLUMNS[part], rows)]
        if part == "loader" and rows and (fastest := fastest_network(records)):
            lines += ["", f"The fastest network above takes {fastest['images_per_second']:.3g} images/s"
                      f" (`{fastest['network']}`)."]  # fmt: skip
        lines += missing(own)
    return "\n".join(lines) + "\n"


def missing(records: Sequence[Record]) -> list[str]:
    """Return a list of the failed and skipped items; those of one reason share a line."""
    found: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record.status != "ok":
            found.setdefault((record.status, record.reason), []).append(record.item)
    lines = [
        f"- {status}: {', '.join(items)}: {markdown_text(why)}" for (status, why), items in found.items()
    ]
    return ["", *lines] if lines else []


def fastest_network(records: Sequence[Record]) -> Row | None:
    """Return the result of the network that takes most images per second."""
    rows = [record.result for record in records if record.part == "networks" and record.status == "ok"]
    return max(rows, key=lambda row: row["images_per_second"], default=None)


def _device(facts: Row) -> str:
    if not facts:
        return "Unknown device."
    name = facts["gpu"] or f"{facts['processor']}, {facts['threads']} threads"
    parts = [name, f"torch {facts['versions']['torch']}"]
    if facts["gpu"]:
        parts += [memory(facts["memory"]), f"CUDA {facts['cuda']}", f"cuDNN {facts['cudnn']}"]
        parts += [f"capability {facts['capability']}", facts["driver"] or "driver unknown"]
    return ", ".join(parts) + "."
