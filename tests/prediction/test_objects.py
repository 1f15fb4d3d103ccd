from __future__ import annotations

import numpy as np
import pytest
import torch

from segbench.contract.prediction import Instances, Panoptic, Prediction
from segbench.contract.view import BACKGROUND, Category, View
from segbench.data.coco.masks import decode
from segbench.prediction.runner.objects import label_map, objects, segments

SKY = Category(id=2, name="sky", isthing=False, color=(0, 0, 200))
CELL = Category(id=5, name="cell", isthing=True, color=(200, 0, 0))
SIZE = (6, 8)


def masks(*boxes: tuple[int, int, int, int]) -> torch.Tensor:
    found = torch.zeros(len(boxes), *SIZE, dtype=torch.bool)
    for mask, (top, left, bottom, right) in zip(found, boxes):
        mask[top:bottom, left:right] = True
    return found


def test_components_of_things_and_one_segment_of_stuff() -> None:
    labels = torch.zeros(SIZE, dtype=torch.int64)
    labels[0, :3] = 1
    labels[0, 6] = 1
    labels[2, 0], labels[3, 1], labels[5, 7] = 2, 2, 2  # the first two touch at a corner
    view, found = View("semantic", (BACKGROUND, SKY, CELL)), Prediction(labels)
    whole = segments(found, view, SIZE, 0.5)
    assert whole.labels == [1, 2, 2] and whole.scores == pytest.approx([4 / 48, 2 / 48, 1 / 48])
    assert whole.index[0].tolist() == [1, 1, 1, 0, 0, 0, 1, 0]
    first, second = objects(found, view, SIZE, 0.5)
    assert (first.area, first.box) == (2, [0, 2, 2, 2]) and (second.area, second.box) == (1, [7, 5, 1, 1])
    assert first.length == pytest.approx(4 * np.sqrt(0.5 + 1 / 12)) and first.label == 2
    assert np.unique(label_map(found, view, SIZE, 0.5)).tolist() == [0, 2, 5]


def test_the_better_object_is_on_top_and_uncertain_ones_do_not_count() -> None:
    scores, labels = torch.tensor([0.9, 0.6, 0.2]), torch.tensor([0, 1, 0])
    found = Prediction(instances=Instances(scores, labels, masks((0, 0, 4, 4), (2, 2, 6, 6), (0, 0, 6, 8))))
    view = View("instance", (CELL, Category(id=300, name="cyst", isthing=True, color=(0, 0, 0))))
    whole = segments(found, view, SIZE, 0.5)
    assert whole.labels == [1, 0] and whole.index[3, 3] == 2 and whole.index[5, 5] == 1
    assert (whole.index == 0).sum() == 48 - 16 - 12
    values = label_map(found, view, SIZE, 0.5)
    assert values.dtype == np.uint16 and sorted(set(values.ravel().tolist())) == [0, 5, 300]
    assert [o.area for o in objects(found, view, SIZE, 0.5)] == [16, 16]
    every = objects(found, view, SIZE, 0.5, all_scores=True)
    assert [round(o.score, 1) for o in every] == [0.9, 0.6, 0.2]
    assert np.array_equal(decode(every[1].mask), found.instances.masks[1].numpy())


def test_an_image_without_objects() -> None:
    view = View("instance", (CELL,))
    nothing = torch.zeros(0)
    for empty in ([], masks()):
        found = Prediction(instances=Instances(nothing, nothing.long(), empty))
        assert objects(found, view, SIZE, 0.5) == [] and not label_map(found, view, SIZE, 0.5).any()
    background = Prediction(torch.zeros(SIZE, dtype=torch.int64))
    assert objects(background, View("semantic", (BACKGROUND, CELL)), SIZE, 0.5) == []


def test_segments_of_things_are_the_objects_of_a_panoptic_prediction() -> None:
    index = torch.zeros(SIZE, dtype=torch.int64)
    index[:3], index[3:, :4], index[3:, 4:] = 1, 2, 3
    panoptic = Panoptic(index, torch.tensor([0, 1, 1]), torch.tensor([0.3, 0.8, 0.7]))
    uncertain = Instances(torch.tensor([0.1]), torch.tensor([1]), masks((0, 0, 2, 2)))
    found, view = Prediction(None, uncertain, panoptic), View("panoptic", (SKY, CELL))
    assert [(o.area, round(o.score, 1)) for o in objects(found, view, SIZE, 0.5)] == [(12, 0.8), (12, 0.7)]
    assert [o.area for o in objects(found, view, SIZE, 0.5, all_scores=True)] == [4]
    assert label_map(found, view, SIZE, 0.5).tolist() == [[2] * 8] * 3 + [[5] * 8] * 3


def test_classes_that_overlap_are_summed() -> None:
    one, other = (Category(id=i, name=f"{i}", isthing=True, color=(0, 0, 0)) for i in (1, 2))
    labels = torch.zeros(SIZE, dtype=torch.int64)
    labels[:2], labels[1:3] = 1, labels[1:3] + 2
    labels[1] = 3
    view, found = View("semantic", (one, other), overlapping=True), Prediction(labels)
    assert label_map(found, view, SIZE, 0.5)[:4, 0].tolist() == [1, 3, 2, 0]
    assert [(o.label, o.area) for o in objects(found, view, SIZE, 0.5)] == [(0, 16), (1, 16)]
