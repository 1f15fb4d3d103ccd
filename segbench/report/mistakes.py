"""Mistakes of a prediction on one image, as regions to paint: missed, invented, wrong class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from segbench.contract.view import Category, Task
from segbench.data.painting import VOID, Region

RIGHT = Category(id=-2, name="right", isthing=False, color=(0, 158, 115))
MISSED = Category(id=-3, name="missed", isthing=False, color=(0, 114, 178))
INVENTED = Category(id=-4, name="invented", isthing=False, color=(230, 159, 0))
WRONG = Category(id=-5, name="wrong class", isthing=False, color=(204, 80, 160))
KINDS = (RIGHT, MISSED, INVENTED, WRONG)
"""Painted in place of classes, in colours that are safe for all kinds of colour vision."""
MATCH = 0.5
"""IoU above which a predicted object is a true one."""
Size = tuple[int, int]


def cropped(regions: Iterable[Region]) -> list[Region]:
    """Hold regions by the parts of their masks that are not empty: an image may have thousands."""
    held = []
    for region in regions:
        rows, columns = np.flatnonzero(region.mask.any(1)), np.flatnonzero(region.mask.any(0))
        if len(rows):
            top, left = int(rows[0]), int(columns[0])
            mask = region.mask[top : rows[-1] + 1, left : columns[-1] + 1].copy()
            held.append(replace(region, mask=mask, corner=(region.corner[0] + top, region.corner[1] + left)))
    return held


def mistakes(
    truth: Sequence[Region], predicted: Iterable[Region], task: Task, size: Size
) -> Iterator[Region]:
    """Yield void, the mistakes of a prediction, and what is right, in the order of painting.

    On class maps, each pixel is compared. Objects and segments are compared as a whole, by the pixels of them
    that are seen in a picture of this size, or by their boxes: a pair of one class with an IoU above `MATCH`
    is right, and of two classes it is the wrong class. Void and crowds are excluded.

    Args:
        truth: cropped regions of an image, from `segbench.report.regions.truth_reader`.
        predicted: regions from `segbench.report.regions.prediction_reader`, of the same size.
        task: the task of both.
        size: height and width of the picture.
    """
    excluded = np.zeros(size, bool)
    for region in truth:
        if region.category is VOID:
            yield region
            excluded[_place(region)] |= region.mask
    true = [region for region in truth if region.category is not VOID]
    guess = [region for region in cropped(predicted) if region.category is not VOID]
    compare = _of_pixels if task == "semantic" else _of_objects
    yield from compare(true, guess, excluded)


def _place(region: Region) -> tuple[slice, slice]:
    """Return where the mask of a region is in the picture."""
    (top, left), (height, width) = region.corner, region.mask.shape
    return slice(top, top + height), slice(left, left + width)


def _of_pixels(true: Sequence[Region], guess: Sequence[Region], excluded: np.ndarray) -> Iterator[Region]:
    """Compare the classes of each pixel, which may be several. A class has one region."""
    known, missed, invented = (np.zeros(excluded.shape, bool) for _ in range(3))
    sides = [{region.category.id: region for region in regions} for regions in (true, guess)]
    for number in sides[0].keys() | sides[1].keys():
        masks = []
        for side in sides:
            masks.append(np.zeros(excluded.shape, bool))
            if number in side:
                masks[-1][_place(side[number])] = side[number].mask
        known |= masks[0]
        missed |= masks[0] & ~masks[1]
        invented |= masks[1] & ~masks[0]
    masks = [known & ~missed & ~invented, missed & ~invented, invented & ~missed, missed & invented]
    yield from (Region(kind, mask & ~excluded) for kind, mask in zip(KINDS, masks))


def _of_objects(true: Sequence[Region], guess: Sequence[Region], excluded: np.ndarray) -> Iterator[Region]:
    boxes = any(region.frame for region in (*true, *guess))
    iou = _box_iou(true, guess) if boxes else _visible_iou(true, guess, excluded.shape)
    kinds: dict[int, Category] = {}
    paired: set[int] = set()
    places = sorted(np.argwhere(iou > MATCH).tolist(), key=lambda place: -iou[place[0], place[1]])
    for kind in (RIGHT, WRONG):
        for t, g in places:
            same = true[t].category.id == guess[g].category.id
            if same == (kind is RIGHT) and t not in paired and g not in kinds:
                paired.add(t)
                kinds[g] = kind
    # a large segment that is right may cover what is missed
    yield from (replace(region, category=RIGHT) for g, region in enumerate(guess) if kinds.get(g) is RIGHT)
    yield from (replace(region, category=MISSED) for t, region in enumerate(true) if t not in paired)
    for g, region in enumerate(guess):
        kind = kinds.get(g, INVENTED)
        in_void = np.count_nonzero(region.mask & excluded[_place(region)])
        if kind is WRONG or (kind is INVENTED and 2 * in_void <= np.count_nonzero(region.mask)):
            yield replace(region, category=kind)


def _visible_iou(true: Sequence[Region], guess: Sequence[Region], size: tuple[int, ...]) -> np.ndarray:
    """Return the IoUs of true and predicted objects; of those that overlap, the later covers the earlier."""
    layers = []
    for regions in (true, guess):
        layers.append(np.zeros(size, np.int64))
        for number, region in enumerate(regions, 1):
            layers[-1][_place(region)][region.mask] = number
    shape = len(true) + 1, len(guess) + 1
    joint = np.bincount((layers[0] * shape[1] + layers[1]).ravel(), minlength=shape[0] * shape[1])
    joint = joint.reshape(shape)
    union = joint.sum(1)[:, None] + joint.sum(0) - joint
    return (joint / np.maximum(union, 1))[1:, 1:]


def _box_iou(true: Sequence[Region], guess: Sequence[Region]) -> np.ndarray:
    """Return the IoUs of the boxes of true and predicted objects."""
    first, second = (
        np.array([(*r.corner, *np.add(r.corner, r.mask.shape)) for r in regions], float).reshape(-1, 4)
        for regions in (true, guess)
    )
    low = np.maximum(first[:, None, :2], second[:, :2])
    high = np.minimum(first[:, None, 2:], second[:, 2:])
    shared = (high - low).clip(0).prod(2)
    areas = [(side[:, 2:] - side[:, :2]).prod(1) for side in (first, second)]
    return shared / (areas[0][:, None] + areas[1] - shared)
