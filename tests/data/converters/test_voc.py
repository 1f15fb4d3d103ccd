from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from loaded import loading
from PIL import Image
from scipy.io import loadmat, savemat

from segbench.data.coco import masks
from segbench.data.converters.common import color
from segbench.data.converters.voc import CLASSES
from segbench.data.converters.voc import convert as unread
from segbench.errors import SegbenchError

convert = loading(unread)

VOC, SBD = "VOCtrainval_11-May-2012.tar", "benchmark.tgz"


def test_palette_is_vocs(archives):
    source = Image.open(archives[VOC] / "VOCdevkit/VOC2012/SegmentationClass/2011_000003.png").getpalette()
    assert [v for i in range(21) for v in color(i)] == source[:63]


@pytest.mark.parametrize(
    ("options", "splits"),
    [
        ({"voc": True, "sbd": False}, {"train": 32, "val": 16}),
        ({"voc": False, "sbd": True}, {"train": 28, "val": 14}),
        ({"voc": True, "sbd": True}, {"train": 64, "val": 16}),
    ],
)
def test_mirror(archives, write, options, splits):
    dataset = write(convert(archives, options))
    info = dataset.info
    assert (info.splits, info.tasks, info.derived) == (
        splits,
        ["semantic", "detection", "instance"],
        ["detection"],
    )
    assert len(info.categories) == 20 and info.categories[14].name == "person" and info.background
    assert info.evaluation_split == "val"
    stems = {name: {r.stem for r in dataset.split(name)} for name in splits}
    assert not stems["train"] & stems["val"]
    for name in splits:  # both truths agree wherever they are not void
        split = dataset.split(name)
        annotations = json.loads(split.instances_json.read_text())["annotations"]
        for record in split.images[::5]:
            painted = np.zeros_like(split.read_semantic(record.stem))
            for a in annotations:
                if a["image_id"] == record.id:
                    painted[masks.decode(a["segmentation"])] = a["category_id"]
            semantic = split.read_semantic(record.stem)
            assert ((painted == semantic) | (semantic == -1)).all()


def test_mirror_values(archives, write):
    split = write(convert(archives, {"voc": True})).split("val")
    record = next(r for r in split if r.stem == "2011_000003")
    assert np.unique(split.read_semantic(record.stem)).tolist() == [-1, 0, 5, 15]
    annotations = json.loads(split.instances_json.read_text())["annotations"]
    found = [(a["category_id"], a["area"]) for a in annotations if a["image_id"] == record.id]
    assert found == [(15, 15662), (15, 17218), (5, 873)]

    split = write(convert(archives, {"sbd": True}), name="sbd").split("train")
    record = split.images[0]
    root = archives[SBD] / "benchmark_RELEASE/dataset"
    classes = loadmat(root / f"cls/{record.stem}.mat")["GTcls"][0, 0]["Segmentation"]
    assert (split.read_semantic(record.stem) == classes).all()
    objects = loadmat(root / f"inst/{record.stem}.mat")["GTinst"][0, 0]
    annotations = json.loads(split.instances_json.read_text())["annotations"]
    assert [(a["category_id"], a["area"]) for a in annotations if a["image_id"] == record.id] == [
        (int(c), int((objects["Segmentation"] == k).sum()))
        for k, c in enumerate(objects["Categories"].ravel(), 1)
    ]


CAT, DOG = CLASSES.index("cat") + 1, CLASSES.index("dog") + 1


def tiny_voc(root: Path, save, train: list[str], val: list[str]) -> Path:
    base = root / "VOCdevkit/VOC2012"
    (base / "ImageSets/Segmentation").mkdir(parents=True)
    classes, objects = np.zeros((8, 8)), np.zeros((8, 8))
    classes[0:4], objects[0:4] = CAT, 1
    classes[3], objects[3] = 255, 255
    classes[6], objects[6] = 255, 2  # all void
    for split, names in (("train", train), ("val", val)):
        (base / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            save(base / f"JPEGImages/{name}.jpg")
            save(base / f"SegmentationClass/{name}.png", classes)
            save(base / f"SegmentationObject/{name}.png", objects)
    return root


def tiny_sbd(root: Path, save, train: list[str], val: list[str]) -> Path:
    base = root / "benchmark_RELEASE/dataset"
    for folder in ("cls", "inst", "img"):
        (base / folder).mkdir(parents=True)
    ids = np.zeros((8, 8), np.uint8)
    ids[0:2] = 1
    for split, names in (("train", train), ("val", val)):
        (base / f"{split}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            save(base / f"img/{name}.jpg")
            savemat(base / f"cls/{name}.mat", {"GTcls": {"Segmentation": ids * DOG}})
            inst = {"Segmentation": ids, "Categories": np.array([[DOG]])}
            savemat(base / f"inst/{name}.mat", {"GTinst": inst})
    return root


def test_joined_split_has_each_image_once_with_vocs_truth(tmp_path: Path, save):
    archives = {
        VOC: tiny_voc(tmp_path / "voc", save, train=["a", "b"], val=["c"]),
        SBD: tiny_sbd(tmp_path / "sbd", save, train=["b", "c", "d"], val=["d", "e", "a"]),
    }
    samples = list(convert(archives, {"voc": True, "sbd": True}).samples)
    found = {(s.split, s.stem, s.instances[0]["category_id"]) for s in samples}
    assert found == {
        ("train", "a", CAT),
        ("train", "b", CAT),
        ("val", "c", CAT),
        ("train", "d", DOG),
        ("train", "e", DOG),
    }
    assert len(samples) == 5


def test_split_of_sbd_is_kept(tmp_path: Path, save):
    archives = {
        VOC: tiny_voc(tmp_path / "voc", save, train=["a"], val=["b", "c"]),
        SBD: tiny_sbd(tmp_path / "sbd", save, train=["b", "d"], val=["c", "e"]),
    }
    samples = convert(archives, {"voc": True, "sbd": True, "keep": "sbd"}).samples
    assert [(s.split, s.stem, s.instances[0]["category_id"]) for s in samples] == [
        ("train", "b", DOG),
        ("train", "d", DOG),
        ("val", "c", CAT),
    ]


def test_border_and_difficult_objects(tmp_path: Path, save):
    root = tiny_voc(tmp_path, save, train=["a"], val=[])
    (sample,) = convert({VOC: root}, {"voc": True}).samples
    assert (sample.semantic[:, 0] == [CAT, CAT, CAT, -1, 0, 0, -1, 0]).all()
    assert [masks.area(i["segmentation"]) for i in sample.instances] == [24]


@pytest.mark.parametrize("folder", ["cls", "inst"])
def test_broken_mat_is_named(tmp_path: Path, save, folder: str):
    root = tiny_sbd(tmp_path, save, train=["a"], val=[])
    path = root / f"benchmark_RELEASE/dataset/{folder}/a.mat"
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(SegbenchError, match=rf"{folder}/a\.mat: is not a MATLAB file"):
        list(convert({SBD: root}, {"sbd": True}).samples)


def test_list_entries_stay_inside(tmp_path: Path, save):
    root = tiny_voc(tmp_path, save, train=[], val=[])
    (root / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt").write_text("../../../../../../x\n")
    with pytest.raises(SegbenchError, match="leads out of the"):
        list(convert({VOC: root}, {"voc": True}).samples)
