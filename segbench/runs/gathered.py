"""The files of a run that are published, without absolute paths, and what is missing among them."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from segbench.contract.run import RunDescription
from segbench.errors import SegbenchError
from segbench.files import read_json
from segbench.report.cell_status import cell_status
from segbench.runs.packing import Content
from segbench.runs.private import MACHINE, Private
from segbench.runs.reading import configuration, mapping, read_mapping

OF_CELL = (
    "scores.csv",
    "scores.json",
    "per_image.parquet",
    "training.json",
    "efficiency.json",
    "history.csv",
)
_MACHINE_COLUMN = re.compile(rf"(train|predict)_({'|'.join(MACHINE)})")


@dataclass
class Gathered:
    """Files by their path in the bundle, and the parts that are missing."""

    members: dict[str, Content] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def gather(run: RunDescription, *, models: bool = False) -> Gathered:
    """Return the files of a run: description, configuration, scores, statistics, tables, page and plots.

    Args:
        run: the run.
        models: include the trained weights.
    """
    found, private = Gathered(), Private(folders(run))
    _add_description(run, private, found)
    for cell in run.cells:
        status = cell_status(run, cell)
        if status.status != "ok":
            reason = private.text(f"{status.status}: {status.reason}".removesuffix(": "))
            found.missing.append(f"cells/{cell.name}: {reason}")
        _add_cell(run, cell.name, private, found, scored=status.status == "ok")
        if models and not cell.control:
            model = run.folder(cell) / "model.pt"
            if model.is_file():
                found.members[f"cells/{cell.name}/model.pt"] = model
            else:
                found.missing.append(f"cells/{cell.name}/model.pt")
        if "train" in run.score_splits and not cell.control:
            _add_cell(run, f"{cell.name}/train", private, found, scored=status.status == "ok")
        if cell.fold == 0:
            pooled = run.pooled(cell).relative_to(run.root / "cells")
            _add_files(run.root, Path("cells", pooled), ("scores.csv", "scores.json"), private, found)
    _add_tree(run.root, "summary", ("csv", "md", "html"), private, found)
    _add_tree(run.root, "report", ("html", "svg", "png"), private, found)
    return found


def folders(run: RunDescription) -> list[Path]:
    """Return the folders that texts of a run may name: of this process, of its user and of the run."""
    config = mapping(configuration(run).get("run"))
    names = [config.get(key) for key in ("storage", "results", "data", "archives", "weights", "mirror")]
    stated = [Path(name) for name in names if isinstance(name, str)]
    roots = [dataset.root for dataset in run.datasets.values()]
    return [Path.cwd(), Path.home(), run.root.resolve(), *stated, *roots, *(root.parent for root in roots)]


def _add_description(run: RunDescription, private: Private, found: Gathered) -> None:
    raw = private.value(read_json(run.root / "run.json"))
    for name, dataset in raw["datasets"].items():
        dataset["root"], dataset["state"] = f"data/{name}", f"datasets/{name}"
    found.members["run.json"] = _json(raw)
    found.members["config.yaml"] = private.text(run.config_yaml).encode()
    for name, one in run.datasets.items():
        path = one.root / "dataset.json"
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            found.members[f"data/{name}/dataset.json"] = private.text(text).encode()
        else:
            found.missing.append(f"data/{name}/dataset.json")


def _add_cell(run: RunDescription, name: str, private: Private, found: Gathered, *, scored: bool) -> None:
    folder = Path("cells", name)
    _add_files(run.root, folder, OF_CELL, private, found)
    for needed in ("scores.csv", "per_image.parquet") if scored else ():
        if f"{folder}/{needed}" not in found.members:
            found.missing.append(f"{folder}/{needed}")
    state = read_mapping(run.root / folder / "state.json")
    if state:
        kept = {key: state.get(key) for key in ("step", "state", "reason", "started", "ended")}
        found.members[f"{folder}/state.json"] = _json(private.value(kept))
    made = read_mapping(run.root / folder / "predictions" / "made_from.json")
    if made:
        found.members[f"{folder}/predictions/made_from.json"] = _json(private.value(made))


def _add_files(root: Path, folder: Path, names: tuple[str, ...], private: Private, found: Gathered) -> None:
    for name in names:
        if (root / folder / name).is_file():
            _add(root, folder / name, private, found)


def _add_tree(root: Path, top: str, suffixes: tuple[str, ...], private: Private, found: Gathered) -> None:
    """Add a folder of the run, without pictures of the images."""
    paths = [p for suffix in suffixes for p in (root / top).rglob(f"*.{suffix}")]
    own = [p.relative_to(root) for p in paths if p.is_file() and "gallery" not in p.relative_to(root).parts]
    for path in sorted(own):
        _add(root, path, private, found)
    if not own:
        found.missing.append(f"{top}/")


def _add(root: Path, path: Path, private: Private, found: Gathered) -> None:
    """Add a file; text files without paths."""
    try:
        found.members[path.as_posix()] = _content(root / path, private)
    except (SegbenchError, UnicodeDecodeError, OSError) as error:
        reason = private.text(str(error).splitlines()[0])
        found.missing.append(f"{path.as_posix()}: cannot be read ({reason})")


def _content(path: Path, private: Private) -> Content:
    if path.suffix in (".parquet", ".png"):
        return path
    if path.suffix == ".json":
        return _json(private.value(read_json(path)))
    text = path.read_text(encoding="utf-8")
    if path.suffix in (".html", ".svg"):
        return private.page(text).encode()
    return private.text(_without_machine(text) if path.name == "cells.csv" else text).encode()


def _without_machine(text: str) -> str:
    """Return cells.csv without the columns of keys in `MACHINE`."""
    frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    return frame.drop(columns=[c for c in frame if _MACHINE_COLUMN.fullmatch(str(c))]).to_csv(index=False)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
