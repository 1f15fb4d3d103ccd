"""Find the images of YOLO's segmentation folders: those that a YAML file names, or those of the folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml

from segbench.data.converters.coco_files import split_of
from segbench.data.converters.common import inside, read_lines, require
from segbench.data.converters.splits import SPLITS
from segbench.data.faults import Faults
from segbench.data.images import IMAGE_SUFFIXES
from segbench.data.junk import listed
from segbench.errors import SegbenchError

CLASSES = ("classes.txt", "obj.names")
"""Files that list the classes where there is no YAML file."""


@dataclass
class Described:
    """Classes and image files of a dataset."""

    labels: list[str]
    images: dict[str, list[Path]]
    """By split; "" if there are none."""
    where: Path
    """The YAML file, or the folder."""


def described(root: Path, labels: list[str] | None, data: str | None) -> Described:
    """Read the YAML file, or the folders if there is none.

    Args:
        root: folder of the dataset.
        labels: names of the classes, instead of those in the files.
        data: name of the YAML file. None: it is searched.

    Raises:
        SegbenchError: a path or the classes are missing or not valid.
    """
    path, content = _yaml_file(root, data)
    if path is None:
        lists = [root / name for name in CLASSES if (root / name).is_file()]
        labels = labels or (read_lines(lists[0]) if lists else None)
        if labels is None:
            raise SegbenchError(
                "has neither a YAML file with `train` and `names` nor classes.txt",
                where=root,
                remedy="name the YAML file in `data`, or the classes in `labels`",
            )
        images: dict[str, list[Path]] = {}
        for image in _image_files(root):
            images.setdefault(split_of(image.parent.relative_to(root)), []).append(image)
        if len(images) > 1 and "" in images:
            raise SegbenchError(
                f"the folder is not that of a split; {', '.join(s for s in images if s)} are",
                where=images[""][0].parent,
                remedy="move its images, or write a data.yaml",
            )
        return Described(labels, images, root)
    faults = Faults()
    found = {}
    for split in SPLITS:
        given = content.get(split) or (content.get("validation") if split == "val" else None)
        if given:
            found[split] = _listed_images(given, split, path, content, root, faults)
    faults.raise_if_any()
    return Described(labels or _names(content, path), found, path)


def _yaml_file(root: Path, data: str | None) -> tuple[Path | None, dict[str, Any]]:
    if data is not None:
        path = require(inside(root, data), "check `data` in the dataset's options")
        content = _read_yaml(path)
        if not isinstance(content, dict) or not content.get("train"):
            raise SegbenchError(
                "has no `train`", where=path, remedy="name the folder of the training images as `train`"
            )
        return path, content
    paths = [p for p in listed(root) if p.suffix.lower() in (".yaml", ".yml") and p.is_file()]
    contents = {path: _read_yaml(path) for path in paths}
    found = [p for p in paths if isinstance(contents[p], dict) and contents[p].get("train")]
    found = [p for p in found if p.stem == "data"] or found
    if len(found) > 1:
        raise SegbenchError(
            f"has several YAML files with `train`: {', '.join(p.name for p in found)}",
            where=root,
            remedy="name one in `data`",
        )
    return (found[0], contents[found[0]]) if found else (None, {})


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise SegbenchError(
            f"is not a readable YAML file ({' '.join(str(error).split())[:200]})",
            where=path,
            remedy="fix it, or remove it",
        ) from error


def _names(content: Mapping[str, Any], path: Path) -> list[str]:
    names, count = content.get("names"), content.get("nc")
    if names is None and isinstance(count, int) and 0 < count < 10_000:
        return [f"class_{number}" for number in range(count)]
    if isinstance(names, dict) and sorted(map(str, names)) == sorted(map(str, range(len(names)))):
        names = [text for _, text in sorted(names.items(), key=lambda item: int(item[0]))]
    if not isinstance(names, list) or not names or not all(type(n) in (str, int) for n in names):
        raise SegbenchError(
            f"`names` is {str(content.get('names'))[:80]}, not a list of names, or names by number from 0",
            where=path,
            remedy="write `names: [first, second]`, with quotes around words such as no and on",
        )
    if count is not None and count != len(names):
        raise SegbenchError(
            f"`nc` is {count}, but there are {len(names)} names", where=path, remedy="make them agree"
        )
    return [str(name).strip() for name in names]


def _listed_images(
    given: Any, split: str, path: Path, content: Mapping[str, Any], root: Path, faults: Faults
) -> list[Path]:
    """Return the images of a split: of a folder, a list in a text file, or several of these."""
    found: dict[Path, None] = {}
    for text in given if isinstance(given, list) else [given]:
        place = _located(str(text), _bases(path, content, root), root)
        if place is None:
            what = f"`{split}` is {str(text)!r}, which is not in {root}"
            faults.add(SegbenchError(what, where=path, remedy="correct the path in the YAML file"))
        elif place.is_dir():
            found.update(dict.fromkeys(_image_files(place)))
        elif place.suffix.lower() == ".txt":
            bases = [place.parent, *_bases(path, content, root)]
            for line in read_lines(place):
                if image := _located(line, bases, root):
                    found[image] = None
                else:
                    what = f"lists the image {line!r}, which is not in {root}"
                    faults.add(SegbenchError(what, where=place, remedy="correct the line, or remove it"))
        else:
            what = f"`{split}` is {str(text)!r}, which is neither a folder nor a .txt file"
            faults.add(SegbenchError(what, where=path, remedy="name the folder of the images"))
    return list(found)


def _bases(path: Path, content: Mapping[str, Any], root: Path) -> list[Path]:
    """Return the folders from which paths count: `path` of the YAML file if it exists, and its own folder."""
    given = content.get("path")
    if not given:
        return [path.parent]
    top = _located(str(given), [path.parent], root)
    return [top, path.parent] if top is not None else [path.parent]


def _located(text: str, bases: Sequence[Path], root: Path) -> Path | None:
    """Return the file or folder of a path; None if there is none inside of `root`.

    Roboflow writes `../train/images` for `train/images`. A path of another machine counts by its last parts.
    """
    name = PurePosixPath(text.strip().replace("\\", "/"))
    candidates = [name]
    if name.parts[:1] == ("..",):
        candidates.append(PurePosixPath(*(part for part in name.parts if part != "..")))
    elif PureWindowsPath(name).drive or name.is_absolute():
        candidates += [PurePosixPath(*name.parts[first:]) for first in range(1, len(name.parts) - 1)]
    inner = root.resolve()
    for candidate in candidates:
        for base in bases:
            try:
                found = (base / candidate).resolve()
                if found.is_relative_to(inner) and found.exists():
                    return root / found.relative_to(inner)
            except (OSError, ValueError):  # not a valid file name
                return None
    return None


def _image_files(top: Path) -> list[Path]:
    return [p for p in listed(top, "**/*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]


def text_file(image: Path, root: Path) -> Path:
    """Return the text file of an image: in the folder `labels` beside the last `images` of its path."""
    parts = list(image.relative_to(root).with_suffix(".txt").parts)
    if "images" in parts[:-1]:
        last = max(place for place, part in enumerate(parts[:-1]) if part == "images")
        parts[last] = "labels"
    return root.joinpath(*parts)
