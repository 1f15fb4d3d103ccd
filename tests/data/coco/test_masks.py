from __future__ import annotations

import re

import numpy as np
import pytest
from pycocotools import mask as coco

from segbench.data.coco import masks

MASK = np.zeros((10, 12), bool)
MASK[2:5, 3:9] = True


@pytest.mark.parametrize("seed", range(5))
def test_every_form_of_run_lengths_is_the_same_mask(seed: int):
    mask = np.random.default_rng(seed).random((37, 53)) < 0.3
    packed = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    flat = mask.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(flat, prepend=0)).tolist()  # a first run of zeros may be empty
    plain = np.diff([0, *edges, flat.size]).tolist()
    forms = [
        mask,
        packed,
        packed | {"counts": packed["counts"].decode()},
        {"size": [37, 53], "counts": plain},
    ]
    for form in forms:
        found = masks.standardise(form, 37, 53)
        assert found == {"size": [37, 53], "counts": packed["counts"].decode()}
    assert (masks.decode(found) == mask).all()


def test_polygons_stay_polygons_and_join():
    square, other = [0, 0, 4, 0, 4, 4, 0, 4], [6.0, 6.0, 9.0, 6.0, 9.0, 9.0, 6.0, 9.0]
    found = masks.standardise([square, other, [1, 1, 2, 2]], 10, 12)
    assert found == [square, other]  # two points have no area
    rle = masks.to_rle(found, 10, 12)
    assert masks.area(rle) == 16 + 9
    assert masks.bbox(rle) == [0, 0, 9, 9]
    assert masks.area(masks.to_rle([], 10, 12)) == 0


RLE = masks.encode(MASK)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 1, 5, 5, 1]], "not a list of x, y pairs"),
        ([[1, 1, float("nan"), 5, 1, 5]], "nan is not a finite number"),
        ([[1, 1, "5", 5, 1, 5]], "'5' is not a finite number"),
        ([[1e7, 1, 5, 5, 1, 5]], "far outside"),
        (["abcdef"], "not a list of x, y pairs"),
        (MASK.T, "mask of shape (12, 10), image of shape (10, 12)"),
        (RLE | {"size": [12, 10]}, "size [12, 10], image of size [10, 12]"),
        (RLE | {"counts": RLE["counts"][:-1]}, "add up to"),
        (RLE | {"counts": "zzzz"}, "add up to 50 of 120"),
        (RLE | {"counts": "Z"}, "the last one is cut off"),
        (RLE | {"counts": ""}, "add up to 0 of 120"),
        (RLE | {"counts": [10, 5]}, "add up to 15 of 120"),
        (RLE | {"counts": [-1, 121]}, "neither"),
        ("text", "segmentation of type str"),
    ],
)
def test_malformed_segmentations_are_refused(segmentation, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        masks.standardise(segmentation, 10, 12)


def test_objects_of_map():
    ids = np.random.default_rng(0).integers(0, 4, (11, 7)) * 300
    found = masks.objects_of_map(ids, {900: 1, 300: 3, 5: 2}, crowd={300})
    assert [(o["category_id"], o["iscrowd"]) for o in found] == [(1, 0), (3, 1), (2, 0)]
    for k, annotation in zip((900, 300, 5), found):
        assert annotation["segmentation"] == masks.encode(ids == k)
    whole = masks.objects_of_map(np.zeros((3, 4), np.uint8), {0: 1})
    assert masks.decode(whole[0]["segmentation"]).all()


@pytest.mark.parametrize("seed", range(5))
def test_paint(seed: int):
    random = np.random.default_rng(seed)
    drawn = random.random((4, 9, 14)) < 0.4
    drawn[2] = False
    target = np.asfortranarray(random.integers(0, 9, drawn.shape[1:]))
    expected = target.copy()
    for mask, value in zip(drawn, (77, 5, 6, -1)):
        expected[mask] = value
    masks.paint(target, [masks.encode(mask) for mask in drawn], [77, 5, 6, -1])
    assert (target == expected).all()


def test_areas_of_more_masks_than_a_byte_counts():
    sizes = np.arange(300) % 7
    rles = [masks.encode(np.arange(12).reshape(3, 4) < n) for n in sizes]
    assert masks.areas(rles).tolist() == sizes.tolist()
    assert masks.areas([]).tolist() == []
