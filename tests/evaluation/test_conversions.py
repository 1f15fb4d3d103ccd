from __future__ import annotations

import numpy as np
from pycocotools import mask as rle

from segbench.evaluation.annotations import Objects, SegmentMap
from segbench.evaluation.conversions import (
    instances_from_panoptic,
    panoptic_from_instances,
    panoptic_from_semantic,
    semantic_from_panoptic,
)


def test_segments_without_pixels_are_skipped():
    index = np.array([[0, 1, 1], [0, 3, 3]])
    segments = SegmentMap(index, np.array([7, 8, 9]), np.ones(3))
    assert {k: o["category_id"] for k, o in segments.masks().items()} == {0: 7, 2: 9}
    (first, last) = segments.annotations(4)
    np.testing.assert_array_equal(rle.decode(last["segmentation"]), index == 3)
    assert (first["id"], first["image_id"], last["id"]) == (1, 4, 3)
    assert SegmentMap(np.zeros((3, 4), int), np.zeros(0, int), np.zeros(0)).masks() == {}


def test_components_touch_by_corners_and_stuff_stays_whole():
    labels = np.array([[1, 0, 2, 2, 0, 3], [0, 1, 0, 0, 0, 0], [1, 0, 0, 2, 0, 3]])
    segments = panoptic_from_semantic(labels, things=[1, 2])
    assert segments.class_ids.tolist() == [1, 2, 2, 3]
    assert segments.scores.tolist() == [3 / 18, 2 / 18, 1 / 18, 2 / 18]
    np.testing.assert_array_equal(semantic_from_panoptic(segments), labels)
    found = instances_from_panoptic(segments, things=[1, 2])
    assert found.class_ids.tolist() == [1, 2, 2] and found.areas.tolist() == [3, 2, 1]
    assert found.boxes.tolist() == [[0, 0, 2, 3], [2, 0, 2, 1], [3, 2, 1, 1]]


def test_the_higher_score_is_on_top_and_low_scores_are_ignored():
    masks = np.zeros((3, 4, 6), np.uint8)
    masks[0, :, :4] = masks[1, :, 2:] = masks[2, 0] = 1
    found = Objects(
        np.array([4, 5, 6]),
        [rle.encode(np.asfortranarray(m)) for m in masks],
        np.zeros((3, 4)),
        np.zeros(3),
        np.array([0.6, 0.9, 0.4]),
        np.zeros(3, bool),
    )
    segments = panoptic_from_instances(found, (4, 6), min_score=0.5)
    np.testing.assert_array_equal(semantic_from_panoptic(segments), [[4, 4, 5, 5, 5, 5]] * 4)
    assert sorted(segments.masks()) == [0, 1]
