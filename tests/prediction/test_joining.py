from __future__ import annotations

import numpy as np

from segbench.prediction.joining import Joiner
from segbench.prediction.outlines import outlines

LEFT, RIGHT = (slice(0, 20), slice(0, 40)), (slice(0, 20), slice(20, 60))
"""Two tiles of an image of 20 x 60, which share the columns 20 to 40."""


def joined(*pieces: tuple, size: tuple[int, int] = (20, 60)) -> Joiner:
    """Join the pieces (tile, class, score, rows, columns), which are rectangles."""
    joiner = Joiner(size)
    for tile in (LEFT, RIGHT):
        own = [p for p in pieces if p[0] is tile]
        masks = np.zeros((len(own), 20, 40), bool)
        for mask, (_, _, _, rows, columns) in zip(masks, own):
            mask[slice(*rows), columns[0] - tile[1].start : columns[1] - tile[1].start] = True
        labels, scores = (np.array([p[i] for p in own]) for i in (1, 2))
        joiner.add(tile, labels, scores, outlines(masks, 0, tile[1].start))
    return joiner


def test_two_halves_are_one_object_of_both() -> None:
    found = joined((LEFT, 0, 0.9, (5, 9), (4, 40)), (RIGHT, 0, 0.8, (5, 9), (20, 58)))
    assert found.objects() == [[0, 1]] and found.outline([0, 1]) == [0, 1]


def test_a_tile_that_sees_the_whole_object_decides_its_outline() -> None:
    found = joined((LEFT, 0, 0.9, (5, 9), (25, 40)), (RIGHT, 0, 0.8, (5, 10), (25, 45)))
    assert found.objects() == [[0, 1]]
    assert found.outline([0, 1]) == [1]


def test_classes_are_not_joined() -> None:
    assert joined((LEFT, 0, 0.9, (5, 9), (4, 40)), (RIGHT, 1, 0.9, (5, 9), (20, 58))).objects() == [[0], [1]]


def test_the_better_overlap_is_the_partner() -> None:
    """Each of two overlapping objects has one piece in each tile."""
    found = joined(
        (LEFT, 0, 0.9, (4, 10), (4, 40)),
        (LEFT, 0, 0.8, (6, 12), (4, 40)),
        (RIGHT, 0, 0.9, (6, 12), (20, 58)),
        (RIGHT, 0, 0.7, (4, 10), (20, 58)),
    )
    assert found.objects() == [[0, 3], [1, 2]]


def test_prongs_join_the_object_that_holds_them() -> None:
    """Of two prongs in the shared columns, the larger one is the partner and the other one a part."""
    found = joined(
        (LEFT, 0, 0.9, (2, 8), (4, 40)),
        (LEFT, 0, 0.9, (12, 16), (4, 40)),
        (RIGHT, 0, 0.9, (2, 16), (20, 58)),
    )
    assert found.objects() == [[0, 1, 2]]


def test_a_part_that_no_border_cuts_is_an_object() -> None:
    inside = (LEFT, 0, 0.9, (5, 9), (25, 30))
    assert joined(inside, (RIGHT, 0, 0.9, (2, 18), (20, 58))).objects() == [[0], [1]]


def test_a_part_that_is_much_less_sure_does_not_change_the_outline() -> None:
    found = joined((LEFT, 0, 0.9, (2, 18), (4, 40)), (RIGHT, 0, 0.2, (2, 8), (20, 58)))
    assert found.objects() == [[0, 1]] and found.outline([0, 1]) == [0]


def test_many_objects() -> None:
    """More than 255 masks, with which pycocotools has counted wrongly."""
    joiner = Joiner((20, 1200))
    tiles = [(slice(0, 20), slice(0, 900)), (slice(0, 20), slice(300, 1200))]
    for tile in tiles:
        starts = np.arange(tile[1].start, tile[1].stop, 2)
        masks = np.zeros((len(starts), 20, 900), bool)
        for mask, start in zip(masks, starts - tile[1].start):
            mask[3:5, start] = True
        joiner.add(tile, np.zeros(len(masks), int), np.ones(len(masks)), outlines(masks, 0, tile[1].start))
    assert len(joiner.objects()) == 600


def test_a_second_detection_of_a_part_is_no_object() -> None:
    """Two detections of one tile look like the object that the other tile sees, and one is its partner."""
    found = joined(
        (LEFT, 0, 0.9, (2, 18), (4, 36)),
        (RIGHT, 0, 0.9, (2, 18), (20, 36)),
        (RIGHT, 0, 0.8, (2, 12), (20, 36)),
    )
    assert found.objects() == [[0, 1, 2]]
