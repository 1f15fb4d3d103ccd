"""The files of predictions that another program made."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from segbench.contract.external import ExternalSpec
from segbench.data.images import IMAGE_SUFFIXES
from segbench.data.junk import is_junk
from segbench.errors import SegbenchError

VOLUMES = (".nii.gz", ".nii")
NNUNET = IMAGE_SUFFIXES | {*VOLUMES}
OBJECTS = IMAGE_SUFFIXES | {".npy", ".mat"}
CELLPOSE = "_cp_masks"
"""Cellpose writes NAME_cp_masks beside other files of the image."""
DATASET_JSON = "dataset.json"


def files_of(spec: ExternalSpec) -> list[Path]:
    """Return the files that decide the predictions, sorted.

    Raises:
        SegbenchError: there is no file of the format.
    """
    if spec.format == "coco":
        found = [json_file(spec.path)]
    elif spec.format == "panoptic":
        path = json_file(spec.path, "panoptic.json")
        found = [path, *images(path.with_suffix("")).values()]
    elif spec.format == "ultralytics":
        found = [*texts(spec.path).values()]
    elif spec.format == "object_maps":
        found = [*object_maps(spec.path).values()]
    elif spec.format == "nnunet":
        names = dataset_json(spec.path)
        found = [*images(spec.path, NNUNET).values(), *([names] if names else [])]
    else:
        found = [*images(spec.path).values()]
    return sorted([*found, *([spec.annotations] if spec.annotations else [])])


def images(folder: Path, endings: Collection[str] = IMAGE_SUFFIXES) -> dict[str, Path]:
    """Return the files of a folder with one of `endings`, by name without ending.

    Raises:
        SegbenchError: the folder does not exist or has no such file, or two files have one name.
    """
    found: dict[str, Path] = {}
    for name in _names(folder):
        stem, dot, ending = name.rpartition(".")
        if ending.lower() == "gz":
            stem, dot, ending = stem.rpartition(".")[0], ".", f"{stem.rpartition('.')[2]}.gz"
        if dot + ending.lower() not in endings:
            continue
        if stem in found:
            raise SegbenchError(
                f"has two files for {stem}: {found[stem].name} and {name}",
                where=folder,
                remedy="keep one of them",
            )
        found[stem] = folder / name
    if not found:
        raise SegbenchError(
            f"has no file that ends in {', '.join(sorted(endings))}",
            where=folder,
            remedy="check `external.path` and `external.format` of the entry",
        )
    return found


def object_maps(folder: Path) -> dict[str, Path]:
    """Return maps of objects by the name of their image: NAME_cp_masks files if there are any, else all."""
    found = images(folder, OBJECTS)
    cellpose = {name: path for name, path in found.items() if name.endswith(CELLPOSE)}
    return {name.removesuffix(CELLPOSE): path for name, path in cellpose.items()} or found


def texts(folder: Path) -> dict[str, Path]:
    """Return the text files of Ultralytics by name of the image: in `labels`, or in the folder itself."""
    inner = folder / "labels"
    return images(inner if inner.is_dir() else folder, frozenset({".txt"}))


def json_file(path: Path, name: str | None = None) -> Path:
    """Return a JSON file: `path` itself, or the one of this folder, called `name` if there are several."""
    if not path.is_dir():
        if path.is_file():
            return path
        raise SegbenchError("does not exist", where=path, remedy="check `external.path` of the entry")
    found = [path / one for one in _names(path) if one.lower().endswith(".json")]
    if name is not None and path / name in found:
        return path / name
    if len(found) != 1:
        listed = ", ".join(one.name for one in found[:5]) or "none"
        raise SegbenchError(
            f"has {len(found)} JSON files ({listed})",
            where=path,
            remedy="name the file with the predictions in `external.path`",
        )
    return found[0]


def dataset_json(folder: Path) -> Path | None:
    """Return nnU-Net's `dataset.json`: of the folder, or of the trained model above `fold_N/validation`."""
    places = (folder, folder.parent, folder.parent.parent) if folder.name == "validation" else (folder,)
    return next((place / DATASET_JSON for place in places if (place / DATASET_JSON).is_file()), None)


def _names(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        raise SegbenchError(
            "is not a folder", where=folder, remedy="check `external.path` and `external.format` of the entry"
        )
    # `listed` would take seconds for a hundred thousand files
    yield from sorted(name for name in os.listdir(folder) if not is_junk([name]))  # noqa: PTH208  as text
