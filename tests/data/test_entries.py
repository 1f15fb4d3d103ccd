"""Entries of config/datasets, on tiny archives in upstream's layout."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import yaml
from bad_input.sources import Members, packed, picture
from PIL import Image
from scipy.io import savemat

from segbench.config.schema import DatasetEntry
from segbench.contract.view import offered
from segbench.data.coco import masks
from segbench.data.convert import ConvertSpec, convert_dataset
from segbench.data.dataset import Dataset, rgb_to_id

CONFIG = Path(__file__).parents[2] / "config"
ROWS, WIDTH = 8, 10


def rows(*values: int) -> np.ndarray:
    """An 8 x 10 map: the values from top to bottom, each in equally many rows."""
    return np.repeat(np.repeat(np.array(values), ROWS // len(values))[:, None], WIDTH, axis=1)


def photo(form: str = "PNG") -> bytes:
    return picture(np.random.default_rng(0).integers(0, 256, (ROWS, WIDTH, 3)), form)


def saved(array: np.ndarray, form: str = "PNG") -> bytes:
    """An image of the type of the array, such as 16 bits."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, form)
    return file.getvalue()


@dataclass
class Case:
    """Archives of an entry, and what becomes of them.

    Attributes:
        archives: members by archive.
        splits: stems by split.
        semantic: a column of the class map, by `<split>/<stem>`.
        objects: class id, crowd and area of the objects of an image, in any order.
        panoptic: class id, crowd and area of the segments of an image.
    """

    archives: dict[str, Members]
    splits: dict[str, list[str]]
    semantic: dict[str, list[int]]
    objects: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)
    panoptic: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)


def converted(name: str, archives: dict[str, Members], folder: Path) -> Dataset:
    entry = DatasetEntry.model_validate(yaml.safe_load((CONFIG / f"datasets/{name}.yaml").read_text()))
    assert set(archives) == set(entry.archives)
    paths = []
    for archive, members in archives.items():
        paths.append(folder / archive)
        paths[-1].write_bytes(packed(archive, members))
    keys = ("title", "convert", "tasks", "channels", "options", "licence", "citation")
    spec = ConvertSpec(**{key: getattr(entry, key) for key in keys})
    convert_dataset(name, spec, paths, folder / name)
    dataset = Dataset(folder / name)
    assert dataset.info.tasks == [*offered(set(entry.tasks))]
    assert not entry.images or set(dataset.info.splits) == set(entry.images)
    return dataset


def cityscapes() -> Case:
    """Road, a car, a group of cars, void (licence plates and trailers have labels that are not scored)."""
    images: Members = {}
    truths: Members = {}
    frames = (
        ("train", "aachen", "000000_000019"),
        ("train", "ulm", "000001_000019"),
        ("val", "munster", "000007_000019"),
        ("test", "bonn", "000004_000019"),
    )
    for split, city, frame in frames:
        images[f"leftImg8bit/{split}/{city}/{city}_{frame}_leftImg8bit.png"] = photo()
        ids = rows(7, 26001, 26, 0) if split == "train" else rows(26002, 26000, 24001, 30001)
        truth = f"gtFine/{split}/{city}/{city}_{frame}_gtFine"
        truths[f"{truth}_instanceIds.png"] = saved(ids.astype(np.uint16))
        truths[f"{truth}_labelIds.png"] = picture(np.where(ids < 1000, ids, ids // 1000))
        truths[f"{truth}_color.png"] = photo()
        truths[f"{truth}_polygons.json"] = b"{}"
    train, val = "train/aachen_000000_000019", "val/munster_000007_000019"
    return Case(
        {
            "leftImg8bit_trainvaltest.zip": {"README": b"r", **images},
            "gtFine_trainvaltest.zip": {"README": b"r", **truths},
        },
        {
            "train": ["aachen_000000_000019", "ulm_000001_000019"],
            "val": ["munster_000007_000019"],
        },
        {train: [1, 1, 14, 14, 14, 14, -1, -1], val: [14, 14, 14, 14, 12, 12, -1, -1]},
        {train: [(14, 0, 20), (14, 1, 20)], val: [(12, 0, 20), (14, 0, 20), (14, 0, 20)]},
        {
            train: [(1, 0, 20), (14, 0, 20), (14, 1, 20)],
            val: [(12, 0, 20), (14, 0, 20), (14, 0, 20)],
        },
    )


def cell_tracking(archive: str) -> Case:
    """Three cells in two sequences; experts outlined two of them in one frame."""
    root = archive.removesuffix(".zip")
    members: Members = {}
    for sequence in ("01", "02"):
        for frame in ("000", "001"):
            members[f"{root}/{sequence}/t{frame}.tif"] = saved(rows(9, 8, 7, 6).astype(np.uint8), "TIFF")
            markers = rows(5, 0, 0, 11).astype(np.uint16)
            members[f"{root}/{sequence}_GT/TRA/man_track{frame}.tif"] = saved(markers, "TIFF")
            silver = rows(5, 0, 300, 11).astype(np.uint16)
            members[f"{root}/{sequence}_ST/SEG/man_seg{frame}.tif"] = saved(silver, "TIFF")
        outlines = rows(1, 0, 300, 0).astype(np.uint16)
        members[f"{root}/{sequence}_GT/SEG/man_seg000.tif"] = saved(outlines, "TIFF")
        members[f"{root}/{sequence}_GT/TRA/man_track.txt"] = b"5 0 1 0\n"
    column = [1, 1, 0, 0, 1, 1, 1, 1]
    return Case(
        {archive: members},
        {"train": ["01_000", "01_001"], "test": ["02_000", "02_001"]},
        {"train/01_001": column, "test/02_000": column},
        {"train/01_001": [(1, 0, 20)] * 3},
    )


def voc2011() -> Case:
    """`b` is in VOC's val and in SBD's train: it is a training image with SBD's truth, and is not scored."""
    voc: Members = {}
    for split, names in (("train", ["a"]), ("val", ["b", "c"])):
        voc[f"ImageSets/Segmentation/{split}.txt"] = "\n".join(names).encode()
        for name in names:
            voc[f"JPEGImages/{name}.jpg"] = photo("JPEG")
            voc[f"SegmentationClass/{name}.png"] = picture(rows(8, 255, 0, 0))
            voc[f"SegmentationObject/{name}.png"] = picture(rows(1, 255, 0, 0))
    sbd: Members = {}
    for split, names in (("train", ["b", "d"]), ("val", ["a", "e"])):
        sbd[f"{split}.txt"] = "\n".join(names).encode()
        for name in names:
            sbd[f"img/{name}.jpg"] = photo("JPEG")
            ids = rows(0, 1).astype(np.uint8)
            objects = {"Segmentation": ids, "Categories": np.array([[12]])}
            for folder, content in (
                ("cls", {"GTcls": {"Segmentation": ids * 12}}),
                ("inst", {"GTinst": objects}),
            ):
                file = io.BytesIO()
                savemat(file, content)
                sbd[f"{folder}/{name}.mat"] = file.getvalue()
    return Case(
        {
            "VOCtrainval_25-May-2011.tar": {f"TrainVal/VOCdevkit/VOC2011/{n}": c for n, c in voc.items()},
            "benchmark.tgz": {f"benchmark_RELEASE/dataset/{n}": c for n, c in sbd.items()},
        },
        {"train": ["b", "d"], "val": ["c"]},
        {"train/b": [0, 0, 0, 0, 12, 12, 12, 12], "val/c": [8, 8, -1, -1, 0, 0, 0, 0]},
        {"train/b": [(12, 0, 40)], "val/c": [(8, 0, 20)]},
    )


COCO_NAMES = {
    5: "airplane", 2: "bicycle", 16: "bird", 9: "boat", 44: "bottle", 6: "bus", 3: "car", 17: "cat",
    62: "chair", 21: "cow", 67: "dining table", 18: "dog", 19: "horse", 4: "motorcycle", 1: "person",
    64: "potted plant", 20: "sheep", 63: "couch", 7: "train", 72: "tv", 24: "zebra",
}  # fmt: skip
"""In the order of torchvision's category list, with one class that VOC lacks."""


def coco_voc21() -> Case:
    """A TV, a cat that overlaps it, a crowd of persons, and a zebra."""
    segmentations = [
        (72, masks.encode(rows(1, 1, 0, 0) > 0), 0),
        (17, [[0, 3, 10, 3, 10, 5, 0, 5]], 0),
        (1, {"size": [ROWS, WIDTH], "counts": [6, *[1, 7] * 9, 1, 1]}, 1),
        (24, masks.encode(rows(0, 0, 0, 1) > 0), 0),
    ]
    archives: dict[str, Members] = {
        "train2017.zip": {},
        "val2017.zip": {},
        "annotations_trainval2017.zip": {},
    }
    for split in ("train", "val"):
        images, annotations = [], []
        for number, area in ((7, 2000.0), (9, 200.0)):  # the areas of training images are at least 1000
            images.append({"id": number, "file_name": f"{number:012}.jpg", "height": ROWS, "width": WIDTH})
            archives[f"{split}2017.zip"][f"{split}2017/{number:012}.jpg"] = photo("JPEG")
            annotations += [
                {
                    "id": 10 * number + k,
                    "image_id": number,
                    "category_id": category,
                    "segmentation": segmentation,
                    "iscrowd": crowd,
                    "area": area if category == 72 else 1.0 if category != 24 else 5000.0,
                }
                for k, (category, segmentation, crowd) in enumerate(segmentations)
            ]
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": k, "name": name} for k, name in COCO_NAMES.items()],
        }
        path = f"annotations/instances_{split}2017.json"
        archives["annotations_trainval2017.zip"][path] = json.dumps(content).encode()
    column = [20, 20, 20, -1, 8, 0, 15, 0]
    return Case(
        archives,
        {"train": [f"{7:012}"], "val": [f"{7:012}", f"{9:012}"]},
        {f"train/{7:012}": column, f"val/{9:012}": column},
    )


def ade20k() -> Case:
    """0 is void; the first class is 1. The archive has the list of classes, too."""
    root = "ADEChallengeData2016"
    members: Members = {f"{root}/objectInfo150.txt": b"Idx\tName\n", f"{root}/sceneCategories.txt": b"s\n"}
    for folder, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        members[f"{root}/images/{folder}/{name}.jpg"] = photo("JPEG")
        members[f"{root}/annotations/{folder}/{name}.png"] = picture(rows(0, 1, 13, 150))
    column = [-1, -1, 1, 1, 13, 13, 150, 150]
    return Case(
        {"ADEChallengeData2016.zip": members},
        {"train": ["ADE_train_00000001"], "val": ["ADE_val_00000001"]},
        {"train/ADE_train_00000001": column, "val/ADE_val_00000001": column},
    )


def loveda() -> Case:
    """0 is no data, which is void; 1 is the background."""
    archives: dict[str, Members] = {}
    for split, numbers in (("Train", (0, 1366)), ("Val", (2522, 3514))):
        members = archives[f"{split}.zip"] = {}
        for area, number in zip(("Rural", "Urban"), numbers):
            members[f"{split}/{area}/images_png/{number}.png"] = photo()
            members[f"{split}/{area}/masks_png/{number}.png"] = picture(rows(0, 1, 2, 7))
    column = [-1, -1, 0, 0, 1, 1, 6, 6]
    return Case(
        archives,
        {"train": ["Rural_0", "Urban_1366"], "val": ["Rural_2522", "Urban_3514"]},
        {"train/Rural_0": column, "train/Urban_1366": column, "val/Urban_3514": column},
    )


def kvasir_seg() -> Case:
    """The masks are JPEG files with grey edges."""
    members: Members = {"Kvasir-SEG/kavsir_bboxes.json": b"{}"}
    for name in "abcde":
        members[f"Kvasir-SEG/images/{name}.jpg"] = photo("JPEG")
        mask = np.repeat(rows(2, 254, 255, 1)[:, :, None], 3, axis=2)
        members[f"Kvasir-SEG/masks/{name}.jpg"] = picture(mask, "JPEG", quality=100)
    column = [0, 0, 1, 1, 1, 1, 0, 0]
    return Case(
        {"kvasir-seg.zip": members},
        {"train": ["a", "b", "c", "e"], "test": ["d"]},
        {"train/a": column, "test/d": column},
    )


def lung() -> Case:
    """CT values of more than 8 bits; a patient stays in one split."""
    members: Members = {}
    names = [f"ID_{patient:04}_Z_{z:04}" for patient in range(4) for z in (75, 142)]
    for name in names:
        values = rows(-1000, -700, 40, 1200).astype(np.int32)
        members[f"2d_images/{name}.tif"] = saved(values, "TIFF")
        members[f"2d_masks/{name}.tif"] = saved(rows(0, 255, 0, 0).astype(np.uint8), "TIFF")
    return Case(
        {"finding-lungs-in-ct-data.zip": members},
        {"train": [n for n in names if "ID_0003" not in n], "test": [n for n in names if "ID_0003" in n]},
        {"train/ID_0000_Z_0142": [0, 0, 1, 1, 0, 0, 0, 0]},
    )


def lung_xray() -> Case:
    """Masks of Shenzhen have a suffix; some of its images have none. Kaggle's archive has all files twice."""
    members: Members = {}
    for root in ("Lung Segmentation", "data/Lung Segmentation"):
        for name, suffix in (
            ("MCUCXR_0001_0", ""),
            ("MCUCXR_0104_1", ""),
            ("CHNCXR_0001_0", "_mask"),
            ("CHNCXR_0330_1", "_mask"),
            ("CHNCXR_0025_0", None),
        ):
            members[f"{root}/CXR_png/{name}.png"] = picture(rows(1, 2))
            if suffix is not None:
                members[f"{root}/masks/{name}{suffix}.png"] = picture(rows(255, 0))
        members[f"{root}/ClinicalReadings/MCUCXR_0001_0.txt"] = b"normal"
        members[f"{root}/test/CHNCXR_0025_0.png"] = photo()
    column = [1, 1, 1, 1, 0, 0, 0, 0]
    return Case(
        {"chest-xray-masks-and-labels.zip": members},
        {"train": ["CHNCXR_0001_0", "CHNCXR_0330_1", "MCUCXR_0104_1"], "test": ["MCUCXR_0001_0"]},
        {"train/CHNCXR_0001_0": column, "train/MCUCXR_0104_1": column},
    )


def beside_images(archive: str, folders: dict[str, str], name: str, image: bytes) -> Case:
    """Masks beside their images, with the suffix `_mask`."""
    members: Members = {}
    for folder in folders.values():
        members[f"{folder}/{name}.png"] = image
        members[f"{folder}/{name}_mask.png"] = picture(rows(0, 255, 255, 0))
    return Case(
        {archive: members},
        {split: [name] for split in folders},
        {f"{split}/{name}": [0, 0, 1, 1, 1, 1, 0, 0] for split in folders},
    )


def cornea() -> Case:
    top = "Corneal nerve curivilinear segmentation"
    members: Members = {}
    for folder, prefix in (("training", "train"), ("val", "val"), ("test", "test")):
        members[f"{top}/{top}/{folder}/{prefix}_images/{prefix}1.jpg"] = picture(rows(9, 8), "JPEG")
        members[f"{top}/{top}/{folder}/{prefix}_mask/{prefix}1.png"] = picture(rows(0, 255))
    return Case(
        {"cornea.zip": members},
        {"train": ["train1"], "val": ["val1"], "test": ["test1"]},
        {"train/train1": [0, 0, 0, 0, 1, 1, 1, 1], "test/test1": [0, 0, 0, 0, 1, 1, 1, 1]},
    )


CASES: dict[str, Callable[[], Case]] = {
    "ade20k": ade20k,
    "cityscapes": cityscapes,
    "coco_voc21": coco_voc21,
    "cornea": cornea,
    "dic_hela": lambda: cell_tracking("DIC-C2DH-HeLa.zip"),
    "esophagus": lambda: beside_images(
        "esophagus.zip", {"train": "train_data", "test": "test_data"}, "00000", photo()
    ),
    "kvasir_seg": kvasir_seg,
    "liver": lambda: beside_images("liver.zip", {"train": "train", "val": "val"}, "000", picture(rows(9, 8))),
    "loveda": loveda,
    "lung": lung,
    "lung_xray": lung_xray,
    "phc_u373": lambda: cell_tracking("PhC-C2DH-U373.zip"),
    "voc2011": voc2011,
}


@pytest.mark.parametrize("name", CASES)
def test_entry(name: str, tmp_path: Path) -> None:
    case = CASES[name]()
    dataset = converted(name, case.archives, tmp_path)
    found = {split: [r.stem for r in dataset.split(split)] for split in dataset.info.splits}
    assert found == case.splits
    for path, column in case.semantic.items():
        split, stem = path.split("/")
        semantic = dataset.split(split).read_semantic(stem)
        assert (semantic == semantic[:, :1]).all() and semantic[:, 0].tolist() == column, path
    for path, objects in case.objects.items():
        split, stem = path.split("/")
        record = next(r for r in dataset.split(split) if r.stem == stem)
        content = json.loads(dataset.split(split).instances_json.read_text())
        own = [a for a in content["annotations"] if a["image_id"] == record.id]
        assert sorted((a["category_id"], a["iscrowd"], a["area"]) for a in own) == objects, path
    for path, segments in case.panoptic.items():
        split, stem = path.split("/")
        content = json.loads(dataset.split(split).panoptic_json.read_text())
        (own,) = [a["segments_info"] for a in content["annotations"] if a["file_name"] == f"{stem}.png"]
        assert sorted((s["category_id"], s["iscrowd"], s["area"]) for s in own) == segments, path
        ids = rgb_to_id(np.asarray(Image.open(dataset.split(split).panoptic_folder / f"{stem}.png")))
        assert ((ids == 0) == (dataset.split(split).read_semantic(stem) == -1)).all()
