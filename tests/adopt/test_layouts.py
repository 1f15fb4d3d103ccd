from __future__ import annotations

from typing import Any

import pytest

from segbench.adopt.layouts import layouts

NAMES = ["003", "017", "105"]


def pattern(image: str, mask: str) -> dict[str, Any]:
    return {"image": image, "mask": mask}


def paths(*forms: str) -> list[str]:
    return sorted(form.format(n=n) for form in forms for n in NAMES)


@pytest.mark.parametrize(
    ("files", "options"),
    [
        (paths("images/{n}.jpg", "masks/{n}.png"), pattern("images/{name}.jpg", "masks/{name}.png")),
        (paths("a{n}.jpg", "a{n}_seg.png"), pattern("{name}.jpg", "{name}_seg.png")),
        (paths("{n}.jpg", "{n}.png", "labels/{n}.png"), pattern("{name}.jpg", "labels/{name}.png")),
        (paths("image_{n}.png", "mask_{n}.png"), pattern("image_{name}.png", "mask_{name}.png")),
        (paths("{n}.png", "{n}_L.png"), pattern("{name}.png", "{name}_L.png")),
        (paths("imgs/{n}.png", "gt/{n}_GT.png"), pattern("imgs/{name}.png", "gt/{name}_GT.png")),
        (
            paths("imagesTr/c_{n}_0000.png", "labelsTr/c_{n}.png"),
            pattern("imagesTr/{name}_0000.png", "labelsTr/{name}.png"),
        ),
        (
            paths("CXR_png/M{n}.png", "masks/left/M{n}.png", "masks/right/M{n}.png"),
            pattern("CXR_png/{name}.png", "masks/*/{name}.png"),
        ),
        (
            paths("images/{n}.png", "masks/car/{n}.png", "masks/road/{n}.png"),
            pattern("images/{name}.png", "masks/{class}/{name}.png"),
        ),
        (
            paths("images/{n}.png", "masks/{n}/1.png", "masks/{n}/2.png"),
            pattern("images/{name}.png", "masks/{name}/*.png"),
        ),
        (
            paths("{n}/images/{n}.png", "{n}/masks/x1.png", "{n}/masks/{n}y.png"),
            pattern("{name}/images/{name}.png", "{name}/masks/*.png"),
        ),
        (paths("{n}/rgb.png", "{n}/mask.png"), pattern("{name}/rgb.png", "{name}/mask.png")),
        (
            paths("p1/images/{n}.tif", "p1/masks/{n}.tif", "p2/images/{n}.tif", "p2/masks/{n}.tif"),
            pattern("{folder}/images/{name}.tif", "{folder}/masks/{name}.tif"),
        ),
        (
            paths("p1/p1_{n}.tif", "p1/p1_{n}_mask.tif", "p2/p2_{n}.tif", "p2/p2_{n}_mask.tif"),
            pattern("{folder}/{name}.tif", "{folder}/{name}_mask.tif"),
        ),
        (
            paths("b/b ({n}).png", "b/b ({n})_mask.png", "b/b ({n})_mask_1.png"),
            pattern("b/{name}.png", "b/{name}_mask*.png"),
        ),
        (
            paths("images/{n}.jpg", "masks/{n}.png", "overlays/{n}.png"),
            pattern("images/{name}.jpg", "masks/{name}.png"),
        ),
        (
            paths("tissue/{n}.png", "outlines_of_b/{n}.png"),
            pattern("tissue/{name}.png", "outlines_of_b/{name}.png"),
        ),
        (
            paths("i{n}.jpg", "i{n}_1stHO.png", "i{n}_2ndHO.png"),
            pattern("{name}.jpg", "{name}_1stHO.png"),
        ),
        (
            paths("CXR_png/M{n}.png", "ManualMask/leftMask/M{n}.png", "ManualMask/rightMask/M{n}.png"),
            pattern("CXR_png/{name}.png", "ManualMask/*/{name}.png"),
        ),
        (
            paths(
                "city/{n}_photo.png", *(f"gt/{{n}}_gt_{k}.png" for k in ("color", "instanceIds", "labelIds"))
            ),
            pattern("city/{name}_photo.png", "gt/{name}_gt_labelIds.png"),
        ),
    ],
)
def test_patterns_without_splits(files: list[str], options: dict[str, Any]) -> None:
    assert layouts(files)[0].options() == options


@pytest.mark.parametrize(
    ("forms", "train", "test"),
    [
        (
            ("train/{n}.png", "trainannot/{n}.png", "test/{n}.png", "testannot/{n}.png"),
            pattern("train/{name}.png", "trainannot/{name}.png"),
            pattern("test/{name}.png", "testannot/{name}.png"),
        ),
        (
            (
                "training/images/{n}_training.tif",
                "training/1st_manual/{n}_manual1.gif",
                "test/images/{n}_test.tif",
                "test/1st_manual/{n}_manual1.gif",
            ),
            pattern("training/images/{name}_training.tif", "training/1st_manual/{name}_manual1.gif"),
            pattern("test/images/{name}_test.tif", "test/1st_manual/{name}_manual1.gif"),
        ),
        (
            ("images/train/{n}.jpg", "images/test/t{n}.jpg", "masks/{n}.png", "masks/t{n}.png"),
            pattern("images/train/{name}.jpg", "masks/{name}.png"),
            pattern("images/test/{name}.jpg", "masks/{name}.png"),
        ),
        (
            ("train/{n}.png", "train/{n}_mask.png", "test/{n}.png", "test/{n}_mask.png"),
            pattern("train/{name}.png", "train/{name}_mask.png"),
            pattern("test/{name}.png", "test/{name}_mask.png"),
        ),
        (
            (
                "training/train_images/{n}.tif",
                "training/train_mask/{n}.tif",
                "test/test_images/{n}.tif",
                "test/test_mask/{n}.tif",
            ),
            pattern("training/train_images/{name}.tif", "training/train_mask/{name}.tif"),
            pattern("test/test_images/{name}.tif", "test/test_mask/{name}.tif"),
        ),
        (
            tuple(f"D-{s}/D-{s}-{k}" for s in ("TR", "TE") for k in ("Image/{n}.jpg", "Mask/{n}.png")),
            pattern("D-TR/D-TR-Image/{name}.jpg", "D-TR/D-TR-Mask/{name}.png"),
            pattern("D-TE/D-TE-Image/{name}.jpg", "D-TE/D-TE-Mask/{name}.png"),
        ),
    ],
)
def test_folders_name_splits(forms: tuple[str, ...], train: dict[str, Any], test: dict[str, Any]) -> None:
    assert layouts(paths(*forms))[0].options() == {"splits": {"train": train, "test": test}}


def test_test_images_without_masks_do_not_make_a_split() -> None:
    best = layouts(paths("train/images/{n}.png", "train/masks/{n}.png", "test/images/{n}.png"))[0]
    assert best.options() == pattern("train/images/{name}.png", "train/masks/{name}.png")


def test_images_of_several_types_and_without_a_mask() -> None:
    best = layouts(["i/1.jpg", "i/2.png", "i/3.jpeg", "masks/1.png", "masks/2.png"])[0]
    assert best.options() == pattern(["i/{name}.jpeg", "i/{name}.jpg", "i/{name}.png"], "masks/{name}.png")
    assert len(best.pairs) == 2


def test_nothing_that_belongs_together() -> None:
    assert layouts(paths("{n}.jpg")) == []
    assert layouts(["a/cat.jpg", "b/dog.jpg", "readme.txt"]) == []


def test_equal_names_in_other_folders_are_no_pairs() -> None:
    """Images without defects have the names of others with defects."""
    files = paths("a/test/bent/{n}.png", "a/test/cut/{n}.png", "a/train/good/{n}.png")
    masks = paths("a/ground_truth/bent/{n}_mask.png", "a/ground_truth/cut/{n}_mask.png")
    best = layouts(files + masks)[0]
    assert best.options() == pattern("a/test/{folder}/{name}.png", "a/ground_truth/{folder}/{name}_mask.png")
    assert len(best.pairs) == 6
