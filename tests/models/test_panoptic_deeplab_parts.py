"""Targets and grouping of Panoptic-DeepLab, compared with values computed by hand."""

import math

import pytest
import torch

from segbench.contract.prediction import IGNORE
from segbench.models.losses.segments import segments_of
from segbench.models.panoptic_deeplab.grouping import find_centres, group, nearest_centre
from segbench.models.panoptic_deeplab.targets import targets_of

THINGS = (1, 2)


def test_targets_by_hand():
    """Left half stuff, an object of 2 x 3 pixels, a void column on the right; then an empty image."""
    masks = torch.zeros(2, 6, 8, dtype=torch.bool)
    masks[0, :, :4] = True
    masks[1, 2:4, 4:7] = True
    valid = torch.ones(6, 8, dtype=torch.bool)
    valid[:, 7] = False
    targets = [
        {"labels": torch.tensor([0, 2]), "masks": masks, "valid": valid},
        {"labels": torch.zeros(0, dtype=torch.int64), "masks": masks[:0], "valid": valid},
    ]
    found = targets_of(segments_of("panoptic", targets), THINGS, sigma=1.0, small_area=7)
    expected = torch.full((6, 8), IGNORE)
    expected[:, :4], expected[2:4, 4:7] = 0, 2
    assert torch.equal(found.semantic[0], expected)
    assert torch.equal(found.thing[0], masks[1]) and torch.equal(found.small[0], masks[1])
    # the centre is (2.5, 5): its bump stands on (2, 5), its offsets are exact
    assert found.centre[0].argmax() == 2 * 8 + 5 and found.centre[0, 2, 5] == 1
    assert found.centre[0, 3, 6] == pytest.approx(math.exp(-1))
    assert found.centre[0, 2, 1] > 0 and found.centre[0, 2, 0] == 0  # four pixels away, and five
    assert found.offset[0, :, 2, 4].tolist() == [0.5, 1.0]
    assert found.offset[0, :, 3, 6].tolist() == [-0.5, -1.0]
    assert not found.offset[0][:, ~masks[1]].any()
    assert (found.semantic[1] == IGNORE).all() and not found.centre[1].any() and not found.thing[1].any()


def test_bumps_that_meet_keep_the_higher():
    masks = torch.zeros(2, 1, 9, dtype=torch.bool)
    masks[0, 0, 2], masks[1, 0, 6] = True, True
    target = {"labels": torch.tensor([1, 1]), "masks": masks, "valid": torch.ones(1, 9, dtype=torch.bool)}
    centre = targets_of(segments_of("panoptic", [target]), THINGS, 2.0, 0).centre[0, 0]
    assert centre.tolist() == pytest.approx(
        [math.exp(-(min(abs(x - 2), abs(x - 6)) ** 2) / 8) for x in range(9)]
    )


def test_centres_are_maxima_above_the_threshold():
    heatmap = torch.zeros(9, 12)
    heatmap[2, 2], heatmap[2, 4], heatmap[6, 8], heatmap[8, 11] = 0.9, 0.8, 0.5, 0.05
    heatmap[6, 9] = 0.5  # a tie: the first counts
    centres, scores = find_centres(heatmap, threshold=0.1, kernel=7, top_k=200)
    assert centres.tolist() == [[2, 2], [6, 8]] and scores.tolist() == pytest.approx([0.9, 0.5])
    centres, _ = find_centres(heatmap, threshold=0.1, kernel=3, top_k=2)
    assert centres.tolist() == [[2, 2], [2, 4]]
    assert len(find_centres(heatmap, 0.95, 7, 200)[0]) == 0


def test_pixels_go_where_they_point(monkeypatch):
    offsets = torch.zeros(2, 3, 1000)
    offsets[1, 1, 600] = -599.0
    things = torch.zeros(3, 1000, dtype=torch.bool)
    things[0, 0], things[1, 600], things[2, 600] = True, True, True
    pixels = things.flatten().nonzero()[:, 0]
    centres = torch.tensor([[1, 999], [1, 1]])
    assert nearest_centre(centres, offsets, pixels).tolist() == [1, 1, 0]
    monkeypatch.setattr("segbench.models.panoptic_deeplab.grouping.PAIRS", 1)
    assert nearest_centre(centres, offsets, pixels).tolist() == [1, 1, 0]


@pytest.fixture
def maps():
    """One row: two stuff pixels, four of two objects (one of them taken for the other class), one stuff."""
    semantic = torch.tensor([[0, 0, 1, 1, 2, 1, 1, 3]])
    probability = torch.full((4, 1, 8), 0.1).scatter_(0, semantic[None], 0.7)
    heatmap = torch.tensor([[0, 0, 0, 0.8, 0, 0, 0.4, 0]])
    offsets = torch.zeros(2, 1, 8)
    offsets[1, 0] = torch.tensor([0, 0, 1, 0, -1, 1, 0, 0])
    return probability, heatmap, offsets


def test_groups_by_hand(maps):
    found = group(*maps, THINGS, threshold=0.1, kernel=3, top_k=200, stuff_area=2)
    assert found.segments.tolist() == [[3, 3, 1, 1, 1, 2, 2, 0]]  # one pixel of class 3 is too little
    assert found.labels.tolist() == [1, 1, 0]  # the majority of the first object is of class 1
    expected = [0.8 * (0.7 + 0.7 + 0.1) / 3, 0.4 * 0.7, 0.7]
    assert found.scores.tolist() == pytest.approx(expected)


def test_things_without_a_centre_are_nothing(maps):
    probability, heatmap, offsets = maps
    found = group(probability, 0 * heatmap, offsets, THINGS, 0.1, 3, 200, stuff_area=0)
    assert found.segments.tolist() == [[1, 1, 0, 0, 0, 0, 0, 2]] and found.labels.tolist() == [0, 3]
