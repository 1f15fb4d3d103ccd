"""Recognise files of annotation tools: YOLO, COCO, VIA and labelme."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from segbench.adopt.proposal import Proposal, spread
from segbench.data.converters.coco_files import found_files, place_of
from segbench.data.converters.folder import FolderOptions
from segbench.data.images import IMAGE_SUFFIXES
from segbench.errors import SegbenchError
from segbench.files import read_json

Files = Mapping[str, Path]
_HEAD = 1 << 16
_SAMPLE = 30
_MANY = 200
"""More JSON files than this are one for each image, so that none of them is searched for COCO's keys."""
_WHOLE = 20_000_000
_ROW = re.compile(r"^\d+(\s+[-+.\deE]+){4,}\s*$")


def yolo(files: Files) -> Proposal | None:
    """Recognise a YOLO folder: a YAML file with `train` and `names`, or text files of polygons."""
    described = [
        path
        for path in _with_suffix(files, ".yaml", ".yml")
        if "/" not in path and {"train", "names"} <= _yaml_keys(files[path])
    ]
    images = {path.rsplit(".", 1)[0].rsplit("/", 1)[-1] for path in _images(files)}
    texts = [p for p in _with_suffix(files, ".txt") if p.rsplit(".", 1)[0].rsplit("/", 1)[-1] in images]
    rows = [_first_row(files[path]) for path in spread(texts, _SAMPLE)]
    matching = [row for row in rows if _ROW.match(row)]
    if not matching or (not described and len(matching) < len([r for r in rows if r])):
        return None
    boxes = sum(len(row.split()) == 5 for row in matching)
    only_boxes = boxes == len(matching)
    kind = "detection" if only_boxes else "segmentation"
    what = described[0] if described else "text files of normalised polygons beside folders of images"
    return Proposal(
        "yolo",
        {"boxes": "truth"} if only_boxes else {},
        [f"{what}, and {len(texts)} text files with {'boxes' if only_boxes else 'polygons'}"],
        [f"a YOLO {kind} dataset" + (f", with the classes and splits of {what}" if described else "")],
        [
            "another YAML file: data: NAME.yaml",
            "names: labels: [FIRST, SECOND]",
            "rows with boxes are errors: boxes: skip; all boxes without masks: boxes: truth",
        ],
        images=[files[path] for path in _images(files)],
        names=sorted(images),
    )


def xml_files(files: Files) -> Proposal | None:
    """Recognise Pascal VOC's XML files of boxes."""
    paths = _with_suffix(files, ".xml")
    boxes = sum(b"<bndbox>" in files[path].read_bytes()[:_HEAD] for path in spread(paths, _SAMPLE))
    if not boxes:
        return None
    images = list(_images(files))
    return Proposal(
        "voc_xml",
        {},
        [f"{len(paths)} XML files with boxes, as Pascal VOC and LabelImg write them"],
        ["boxes without masks, for the task detection; classes are all labels"],
        ["classes in order: labels: [FIRST, SECOND]", "programs that count pixels from 0: origin: 0"],
        images=[files[path] for path in images],
        names=sorted(path.rsplit(".", 1)[0].rsplit("/", 1)[-1] for path in images),
    )


def json_files(files: Files, root: Path, given: Mapping[str, Any]) -> list[Proposal]:
    """Recognise JSON files of COCO, VIA and labelme, the likeliest first."""
    paths = _with_suffix(files, ".json")
    tools = Counter(_tool(files[path]) for path in spread(paths, _SAMPLE))
    images = list(_images(files))
    stems = sorted(path.rsplit(".", 1)[0].rsplit("/", 1)[-1] for path in images)
    found = []
    for tool, _ in tools.most_common():
        if tool == "labelme":
            found.append(
                Proposal(
                    "labelme",
                    {},
                    [f"{len(paths)} JSON files with `shapes`, as labelme writes them"],
                    ["a labelme folder: objects and class maps; classes are all labels"],
                    [
                        "classes in order: labels: [FIRST, SECOND]; class maps only: task: semantic",
                        "images without a JSON file are skipped: unannotated: empty",
                    ],
                )
            )
        elif tool == "via":
            found.append(_via([files[path] for path in spread(paths, _SAMPLE)], len(paths)))
        elif (tool == "coco" or len(paths) <= _MANY) and (coco := _coco(root, given)) is not None:
            found.append(coco)
    for proposal in found:
        proposal.images = [files[path] for path in images]
        proposal.names = stems
    return sorted(found, key=lambda p: p.converter != "coco")


def _coco(root: Path, given: Mapping[str, Any]) -> Proposal | None:
    if given.keys() & {"instances", "panoptic"}:
        return Proposal("coco", {}, ["a COCO dataset"], ["the files that the options name"])
    place = place_of({}, FolderOptions(folder=root))
    try:
        kinds = found_files(place, "utf-8")
    except SegbenchError as error:
        if "has no COCO file" in error.what:
            return None
        raise SegbenchError(
            error.what,
            where=error.where,
            remedy="say which to use: --set 'instances={train: ..., test: ...}' or --set instances=FILE",
        ) from error
    seen, taken = [], []
    for kind, splits in kinds.items():
        names = ", ".join(f"{place.relative(p)}" + (f" ({s})" if s else "") for s, p in splits.items())
        seen.append(f"COCO {kind}: {names}")
        taken.append(
            "splits by the names of the files" if any(splits) else "one file, whose images are divided"
        )
    return Proposal(
        "coco",
        {},
        seen,
        list(dict.fromkeys(taken)),
        [
            "other files: instances: {train: FILE, test: FILE}; folders of images: images: {train: FOLDER}",
            "objects without an outline are errors: boxes: skip; all boxes without masks: boxes: truth",
        ],
    )


def _via(paths: list[Path], count: int) -> Proposal:
    """Return the proposal for VIA, with the attribute that has few texts."""
    texts: dict[str, Counter[str]] = defaultdict(Counter)
    regions = 0
    for path in paths:
        for region in _regions(path):
            regions += 1
            attributes = region.get("region_attributes") or {}
            for name, value in attributes.items() if isinstance(attributes, dict) else ():
                if isinstance(value, str) and value.strip():
                    texts[name][value.strip()] += 1
    fit = [n for n, c in texts.items() if c.total() == regions and 1 < len(c) <= max(20, regions // 5)]
    seen = [f"{count} JSON files of the VGG Image Annotator with {regions} regions"]
    if texts:
        seen.append("attributes: " + ", ".join(f"{n} ({', '.join(list(c)[:5])})" for n, c in texts.items()))
    attribute = fit[0] if fit else None
    taken = [f"`{attribute}` names the class" if attribute else "one class, `object`"]
    options = {"attribute": attribute} if attribute else {}
    return Proposal(
        "via",
        options,
        seen,
        taken,
        ["another attribute: attribute: NAME; the name of a single class: labels: [NAME]"],
    )


def _regions(path: Path) -> Iterable[dict[str, Any]]:
    try:
        content = read_json(path)
    except SegbenchError:
        return
    if not isinstance(content, dict):
        return
    entries = content.get("_via_img_metadata", content)
    for entry in entries.values() if isinstance(entries, dict) else ():
        regions = entry.get("regions") if isinstance(entry, dict) else None
        for region in regions.values() if isinstance(regions, dict) else regions or ():
            if isinstance(region, dict):
                yield region


def _tool(path: Path) -> str:
    """Return the tool that wrote a JSON file by its first keys: labelme, via, coco; "" for others."""
    with path.open("rb") as file:
        head = file.read(_HEAD).decode("utf-8", "replace")
    if tool := _tool_of(lambda key: bool(re.search(rf'"{key}"\s*:', head))):
        return tool
    if len(head) < _HEAD or path.stat().st_size > _WHOLE:
        return ""
    try:
        content = read_json(path)
    except SegbenchError:
        return ""
    return _tool_of(lambda key: isinstance(content, dict) and key in content)


def _tool_of(has: Any) -> str:
    if has("shapes") and (has("imagePath") or has("version") or has("imageData")):
        return "labelme"
    if has("_via_img_metadata") or (has("regions") and has("filename")):
        return "via"
    if has("images") and (has("annotations") or has("categories")):
        return "coco"
    return ""


def _images(files: Files) -> Iterable[str]:
    return _with_suffix(files, *IMAGE_SUFFIXES)


def _with_suffix(files: Files, *suffixes: str) -> list[str]:
    return [path for path in files if path.lower().endswith(suffixes)]


def _first_row(path: Path) -> str:
    with path.open("rb") as file:
        lines = file.read(_HEAD).decode("utf-8", "replace").splitlines()
    return next((line.strip() for line in lines if line.strip()), "")


def _yaml_keys(path: Path) -> set[str]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return set()
    return set(map(str, content)) if isinstance(content, dict) else set()
