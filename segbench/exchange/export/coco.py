"""COCO's layout: the images in SPLIT/, annotations/instances_SPLIT.json, and panoptic files if there are any.

Ids of images and categories are those of the converted dataset, so results with these ids can be scored.
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

from segbench.contract.view import Category
from segbench.data.coco.index import index_path
from segbench.data.coco.jsonstream import scan
from segbench.data.dataset import Dataset
from segbench.data.writing.listing import json_file
from segbench.errors import SegbenchError
from segbench.exchange.export.images import new_folder, place
from segbench.files import atomic_folder

log = logging.getLogger(__name__)


def export(dataset: Dataset, out: Path) -> Path:
    """Write a dataset in COCO's layout.

    Args:
        dataset: the converted dataset.
        out: folder to write, which must not exist.

    Returns:
        The folder.

    Raises:
        SegbenchError: the dataset has no objects, or the folder exists.
    """
    info = dataset.info
    if "detection" not in info.tasks:
        raise SegbenchError(
            "has no objects, which COCO's format has",
            where=dataset.root,
            remedy="choose `--to nnunet` or `pairs`",
        )
    with atomic_folder(new_folder(out)) as folder:
        (folder / "annotations").mkdir()
        for name in info.splits:
            split = dataset.split(name)
            (folder / name).mkdir()
            named = {record.path.name: place(split, record, folder / name) for record in split}
            path = folder / f"annotations/instances_{name}.json"
            _write_json(split.instances_json, path, named, [c for c in info.categories if c.isthing])
            if "panoptic" in info.tasks:
                path = folder / f"annotations/panoptic_{name}.json"
                _write_json(split.panoptic_json, path, named, info.categories)
                shutil.copytree(split.panoptic_folder, path.with_suffix(""))
    log.info("%s: %d images", out, sum(info.splits.values()))
    return out


def _write_json(source: Path, path: Path, named: dict[str, str], categories: list[Category]) -> None:
    """Copy a JSON file with the new names of images, entry by entry."""
    with json_file(path, categories) as file:
        for key, value, _, _ in scan(source):
            if key == "images":
                value["file_name"] = named[value["file_name"]]
                file.images.add(json.dumps(value).encode())
            elif key == "annotations":
                file.add_annotation(value["image_id"], json.dumps(value).encode())
    index_path(path).unlink()
