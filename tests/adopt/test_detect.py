from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from segbench.adopt.detect import propose
from segbench.errors import SegbenchError
from tests.adopt.conftest import COLORS, Save, Scene, Scenes

CLASSES = {0: "background", 1: "class_1", 2: "class_2", 3: "class_3"}
BLACK_AND_WHITE = {0: "background", 255: "foreground"}
Mask = Callable[[Scene], Any]


def palette(scene: Scene) -> Image.Image:
    image = Image.fromarray(scene.classes).convert("P")
    image.putpalette(COLORS.ravel().tolist())
    return image


def with_void(scene: Scene) -> np.ndarray:
    classes = scene.classes.copy()
    classes[-2:] = 255
    return classes


def smoothed(scene: Scene) -> np.ndarray:
    return np.asarray(Image.fromarray(scene.binary).resize((160, 128), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(
    ("suffix", "mask", "options"),
    [
        ("png", lambda s: s.classes, {"classes": CLASSES}),
        ("npy", lambda s: s.classes, {"classes": CLASSES}),
        ("png", with_void, {"classes": CLASSES, "void": [255]}),
        ("png", lambda s: s.binary, {"classes": BLACK_AND_WHITE}),
        ("png", lambda s: s.binary // 255, {"classes": {0: "background", 1: "foreground"}}),
        ("png", lambda s: np.stack([s.binary] * 3, 2), {"classes": BLACK_AND_WHITE}),
        ("jpg", lambda s: s.binary, {"classes": ["background", "foreground"], "threshold": 128}),
        ("png", smoothed, {"classes": ["background", "foreground"], "threshold": 128}),
        ("png", lambda s: s.objects, {"objects": "object"}),
        ("tif", lambda s: s.objects, {"objects": "object"}),
        ("png", lambda s: s.objects.astype(np.uint8), {"objects": "object"}),
        (
            "png",
            lambda s: COLORS[s.classes],
            {
                "classes": {
                    "#000000": "background",
                    "#804000": "color_804000",
                    "#008040": "color_008040",
                    "#400080": "color_400080",
                }
            },
        ),
    ],
)
def test_values_of_masks(
    suffix: str, mask: Mask, options: dict[str, Any], scenes: Scenes, put: Save, tmp_path: Path
) -> None:
    for k, scene in enumerate(scenes):
        put(f"images/{k}.png", scene.photo)
        put(f"masks/{k}.{suffix}", mask(scene))
    found = propose(tmp_path / "own")
    assert found.converter == "pairs"
    assert found.options == {"image": "images/{name}.png", "mask": f"masks/{{name}}.{suffix}"} | options


def test_palette_masks_have_the_values_of_their_indices(scenes: Scenes, put: Save, tmp_path: Path) -> None:
    for k, scene in enumerate(scenes):
        put(f"images/{k}.jpg", scene.photo)
        put(f"masks/{k}.png", "")
        palette(scene).save(tmp_path / "own" / "masks" / f"{k}.png")
    assert propose(tmp_path / "own").options["classes"] == CLASSES


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        (
            "classes.txt",
            "background\nnut\nbolt\nscrew\n",
            {"classes": {0: "background", 1: "nut", 2: "bolt", 3: "screw"}},
        ),
        (
            "classes.txt",
            "nut\nbolt\nscrew\n",
            {"classes": {0: "background", 1: "nut", 2: "bolt", 3: "screw"}},
        ),
        (
            "classes.txt",
            "background\nnut\nbolt\nscrew\ncar\n",
            {"classes": {0: "background", 1: "nut", 2: "bolt", 3: "screw"}},
        ),
    ],
)
def test_a_list_names_values(
    name: str, text: str, options: dict[str, Any], scenes: Scenes, put: Save, tmp_path: Path
) -> None:
    put(name, text)
    for k, scene in enumerate(scenes):
        put(f"{k}.jpg", scene.photo)
        put(f"{k}_label.png", scene.classes)
    assert propose(tmp_path / "own").options == {"image": "{name}.jpg", "mask": "{name}_label.png"} | options


LABELMAP = (
    "# label:color:parts:actions\nbackground:0,0,0::\nnut:128,64,0::\nbolt:0,128,64::\nscrew:64,0,128::\n"
)
NAMED = {"#000000": "background", "#804000": "nut", "#008040": "bolt", "#400080": "screw"}


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("labelmap.txt", LABELMAP, {"labelmap": "labelmap.txt"}),
        ("labelmap.txt", LABELMAP + "car:9,9,9::\n", {"classes": NAMED}),
        (
            "class_dict.csv",
            "name,r,g,b\nbackground,0,0,0\nnut,128,64,0\nbolt,0,128,64\nscrew,64,0,128\n",
            {"classes": NAMED},
        ),
        (
            "label_colors.txt",
            "0 0 0 background\n128 64 0 nut\n0 128 64 bolt\n64 0 128 screw\n9 9 9 car\n",
            {"classes": NAMED},
        ),
    ],
)
def test_a_table_names_colours(
    name: str, text: str, options: dict[str, Any], scenes: Scenes, put: Save, tmp_path: Path
) -> None:
    put(name, text)
    for k, scene in enumerate(scenes):
        put(f"JPEGImages/{k}.jpg", scene.photo)
        put(f"SegmentationClass/{k}.png", COLORS[scene.classes])
    pattern = {"image": "JPEGImages/{name}.jpg", "mask": "SegmentationClass/{name}.png"}
    assert propose(tmp_path / "own").options == pattern | options


def test_a_file_for_each_object(scenes: Scenes, put: Save, tmp_path: Path) -> None:
    for k, scene in enumerate(scenes):
        put(f"images/{k}.png", scene.photo)
        for number in range(1, scene.objects.max() + 1):
            put(f"masks/{k}/{number}.png", np.where(scene.objects == number, 255, 0).astype(np.uint8))
    assert propose(tmp_path / "own").options == {
        "image": "images/{name}.png",
        "mask": "masks/{name}/*.png",
        "objects": "object",
    }


def test_field_of_view_is_not_the_truth(scenes: Scenes, put: Save, tmp_path: Path) -> None:
    view = np.zeros((32, 40), np.uint8)
    view[3:29, 5:35] = 255
    for k, scene in enumerate(scenes):
        put(f"images/{k}.png", scene.photo)
        put(f"mask/{k}.png", view)
        put(f"manual/{k}_manual.png", scene.binary)
    found = propose(tmp_path / "own")
    assert found.options["mask"] == "manual/{name}_manual.png"
    assert any("also possible as masks: 8 such as mask/0.png" in text for text in found.seen)
    assert any('"mask": "mask/{name}.png"' in t or 'mask: "mask/{name}.png"' in t for t in found.otherwise)


def test_images_without_a_mask_are_skipped(scenes: Scenes, put: Save, tmp_path: Path) -> None:
    for k, scene in enumerate(scenes):
        put(f"images/{k}.png", scene.photo)
        if k:
            put(f"masks/{k}.png", scene.binary)
    found = propose(tmp_path / "own")
    assert (
        found.options["unannotated"] == "skip"
        and "1 images without a mask are skipped, such as 0.png" in found.taken
    )


def test_given_patterns_are_taken(scenes: Scenes, put: Save, tmp_path: Path) -> None:
    for k, scene in enumerate(scenes):
        put(f"a/{k}x.png", scene.photo)
        put(f"b/y{k}z.png", scene.classes)
    given = {"image": "a/{name}x.png", "mask": "b/y{name}z.png"}
    assert propose(tmp_path / "own", given).options == given | {"classes": CLASSES}
    assert propose(tmp_path / "own", given | {"objects": "nut"}).options == given | {"objects": "nut"}


COCO = {
    "images": [{"id": 0, "file_name": "a.jpg", "width": 40, "height": 32}],
    "annotations": [
        {"id": 1, "image_id": 0, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]], "bbox": [1, 1, 8, 8]}
    ],
    "categories": [{"id": 1, "name": "nut"}],
}
REGION = {"shape_attributes": {"name": "polygon", "all_points_x": [1, 9, 9], "all_points_y": [1, 1, 9]}}
VIA = {
    f"{k}.jpg1": {
        "filename": f"{k}.jpg",
        "regions": [REGION | {"region_attributes": {"kind": kind, "id": str(k)}}],
    }
    for k, kind in enumerate(["nut", "bolt"] * 15)
}
LABELME = {"version": "5", "shapes": [], "imagePath": "a.jpg"}


@pytest.mark.parametrize(
    ("files", "converter", "options"),
    [
        ({"train/_annotations.coco.json": COCO, "valid/_annotations.coco.json": COCO}, "coco", {}),
        ({"annotations/instances_default.json": COCO}, "coco", {}),
        ({"via_region_data.json": VIA}, "via", {"attribute": "kind"}),
        ({"a.json": LABELME}, "labelme", {}),
    ],
)
def test_json_files(
    files: dict[str, Any], converter: str, options: dict[str, Any], put: Save, tmp_path: Path
) -> None:
    put("images/a.jpg", np.zeros((32, 40, 3), np.uint8))
    for name, content in files.items():
        put(name, json.dumps(content))
    found = propose(tmp_path / "own")
    assert (found.converter, found.options) == (converter, options)


def test_yolo(put: Save, tmp_path: Path) -> None:
    put("data.yaml", "train: images/train\nval: images/val\nnames: [nut]\n")
    for split in ("train", "val"):
        put(f"images/{split}/{split}1.jpg", np.zeros((32, 40, 3), np.uint8))
        put(f"labels/{split}/{split}1.txt", "0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    assert propose(tmp_path / "own").converter == "yolo"


@pytest.mark.parametrize(
    ("name", "text", "converter", "options"),
    [
        ("labels/1.txt", "0 .5 .5 .2 .2\n", "yolo", {"boxes": "truth"}),
        ("images/1.xml", "<annotation><object><bndbox></bndbox></object></annotation>", "voc_xml", {}),
    ],
)
def test_boxes(
    name: str, text: str, converter: str, options: dict[str, Any], put: Save, tmp_path: Path
) -> None:
    put("images/1.jpg", np.zeros((32, 40, 3), np.uint8))
    put(name, text)
    found = propose(tmp_path / "own")
    assert (found.converter, found.options) == (converter, options)


@pytest.mark.parametrize(
    ("files", "messages"),
    [
        ({}, ["own: is empty"]),
        ({"a.zip": "", "b.zip": ""}, ["there are only archives", "files: 2 .zip", "extract them"]),
        ({"notes.docx": "", "data/a.csv": ""}, ["there are no images", "files: 1 .csv, 1 .docx"]),
        ({"1.nii.gz": ""}, ["these are volumes"]),
        ({"a.jpg": "x", "a.xml": "<a/>"}, ["images, but no masks", "1 .xml"]),
        (
            {"a.jpg": "x", "a.json": '{"objects": []}'},
            ["the JSON files are not those of COCO, VIA or labelme"],
        ),
        ({"a.jpg": "x", "b.jpg": "x"}, ["images, but no masks", "such as: a.jpg", "--set mask="]),
    ],
)
def test_what_nothing_reads_says_what_there_is(
    files: dict[str, str], messages: list[str], put: Save, tmp_path: Path
) -> None:
    (tmp_path / "own").mkdir()
    for name, text in files.items():
        put(name.replace(".jpg", ".text"), text)
        if name.endswith(".jpg"):
            (tmp_path / "own" / name.replace(".jpg", ".text")).rename(tmp_path / "own" / name)
    with pytest.raises(SegbenchError) as error:
        propose(tmp_path / "own")
    for message in messages:
        assert message in str(error.value)


def test_photographs_in_the_place_of_masks(scenes: Scenes, put: Save, tmp_path: Path) -> None:
    for k, scene in enumerate(scenes):
        put(f"images/{k}.png", scene.photo)
        put(f"masks/{k}.png", scene.photo[::-1, :, 0].copy())
    with pytest.raises(
        SegbenchError, match=r"masks/0.png have the names of masks, but up to \d+ values each"
    ):
        propose(tmp_path / "own")


def test_colours_that_the_table_lacks(scenes: Scenes, put: Save, tmp_path: Path) -> None:
    put("labelmap.txt", "background:0,0,0::\nnut:128,64,0::\n")
    for k, scene in enumerate(scenes):
        put(f"images/{k}.png", scene.photo)
        put(f"masks/{k}.png", COLORS[scene.classes])
    with pytest.raises(SegbenchError, match="labelmap.txt: does not name the colours #008040, #400080"):
        propose(tmp_path / "own")


def test_variable_in_matlab_files(scenes: Scenes, put: Save, tmp_path: Path) -> None:
    (tmp_path / "own" / "inst").mkdir(parents=True)
    for k, scene in enumerate(scenes):
        put(f"img/{k}.png", scene.photo)
        content = {
            "image": scene.photo,
            "GT": {"Boundaries": np.zeros((3, 1)), "Segmentation": scene.objects},
        }
        savemat(tmp_path / "own" / "inst" / f"{k}.mat", content)
    options = {"image": "img/{name}.png", "mask": "inst/{name}.mat"}
    assert propose(tmp_path / "own").options == options | {"key": "GT.Segmentation", "objects": "object"}


def test_stacks_and_empty_masks_are_errors(scenes: Scenes, put: Save, tmp_path: Path) -> None:
    pages = [Image.fromarray(scene.binary) for scene in scenes]
    put("train.tif", scenes[0].binary)
    pages[0].save(tmp_path / "own" / "train.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(SegbenchError, match="train.tif has several pages"):
        propose(tmp_path / "own")
    for k, scene in enumerate(scenes):
        put(f"images/{k}.png", scene.photo)
        put(f"masks/{k}.png", np.zeros((32, 40), np.uint8))
    with pytest.raises(SegbenchError, match="all 8 masks that were read are empty"):
        propose(tmp_path / "own")


def test_drawings_beside_images_and_masks_are_skipped(scenes: Scenes, put: Save, tmp_path: Path) -> None:
    for k, scene in enumerate(scenes):
        put(f"{k}.png", scene.photo)
        put(f"{k}_mask.png", scene.binary)
        put(f"{k}_overlay.png", scene.photo // 2)
    found = propose(tmp_path / "own")
    patterns = {"image": "{name}.png", "mask": "{name}_mask.png"}
    assert found.options == patterns | {"classes": BLACK_AND_WHITE, "unannotated": "skip"}
    assert "8 images without a mask are skipped, such as 0_overlay.png" in found.taken


def test_void_that_the_user_gives_is_no_class(scenes: Scenes, put: Save, tmp_path: Path) -> None:
    for k, scene in enumerate(scenes):
        put(f"images/{k}.png", scene.photo)
        put(f"masks/{k}.png", scene.classes)
    found = propose(tmp_path / "own", {"void": [3]})
    assert found.options["void"] == [3]
    assert found.options["classes"] == {0: "background", 1: "class_1", 2: "class_2"}
