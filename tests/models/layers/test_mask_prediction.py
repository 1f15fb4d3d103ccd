import torch
from torch.nn import functional as F

from segbench.models.layers import mask_prediction
from segbench.models.layers.mask_prediction import best_objects, enlarged, instances, panoptic, semantic_map

SURE = 20.0


def masks_of(*rows):
    """Logits of masks of one row of pixels: 1 -> inside, 0 -> outside."""
    return torch.tensor(rows, dtype=torch.float32)[:, None] * 2 * SURE - SURE


def classes_of(*labels, count=3):
    """Logits of queries sure of their labels; `count` is "no object"."""
    return F.one_hot(torch.tensor(labels), count + 1) * SURE


def test_enlarged_equals_interpolation_then_crop(monkeypatch):
    masks = torch.randn(5, 6, 8)
    expected = F.interpolate(masks[None], scale_factor=4, mode="bilinear", align_corners=False)[
        0, :, :21, :29
    ]
    for strip in (mask_prediction.STRIP, 5 * 29 * 3):  # at once; three rows at a time
        monkeypatch.setattr(mask_prediction, "STRIP", strip)
        found = torch.cat(list(enlarged(masks, (21, 29), 4, (21, 29))), dim=1)
        torch.testing.assert_close(found, expected)
    twice = torch.cat(list(enlarged(masks, (24, 32), 4, (48, 64))), dim=1)
    expected = F.interpolate(masks[None], scale_factor=8, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(twice, expected)


def test_semantic_map_sums_over_queries():
    """Two halves of class 0 outweigh one query of class 1 that covers less; "no object" counts nothing."""
    masks = masks_of([1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 1, 1, 1])
    assert semantic_map(classes_of(0, 0, 1, 3), iter([masks])).tolist() == [[0, 0, 0, 1]]


def test_best_objects_are_query_class_pairs():
    classes = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]]).log()
    query, label, score = best_objects(classes, 3)
    assert query.tolist() == [1, 0, 0] and label.tolist() == [1, 0, 1]
    torch.testing.assert_close(score, torch.tensor([0.6, 0.5, 0.3]))
    assert len(best_objects(classes, 100)[0]) == 4


def test_scores_of_instances_are_multiplied_by_the_mask_quality():
    logits = torch.tensor([[[0.0, 1.0, -1.0, 3.0]], [[-1.0, -1.0, -1.0, -1.0]]])
    found = instances(torch.tensor([5, 6]), torch.tensor([0.8, 0.9]), iter(logits.split(1, dim=1)))
    assert found.labels.tolist() == [5]  # the empty one is gone
    assert found.masks.tolist() == [[[False, True, False, True]]]
    expected = 0.8 * torch.tensor([1.0, 3.0]).sigmoid().mean()
    torch.testing.assert_close(found.scores[0], expected)


def segment(masks, labels, scores, things, overlap=0.8):
    return panoptic(torch.tensor(labels), torch.tensor(scores), iter([masks]), things, overlap)


def test_panoptic_pixels_go_to_the_best_mask():
    found = segment(masks_of([1, 1, 1, 0, 0], [0, 0, 1, 1, 0]), [2, 0], [0.9, 0.95], (0, 2), overlap=0.5)
    assert found.segments.tolist() == [[1, 1, 2, 2, 0]]  # the last pixel has no mask
    assert found.labels.tolist() == [2, 0]
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.95]))


def test_panoptic_drops_masks_that_are_mostly_hidden():
    masks = masks_of([1, 1, 1, 0], [0, 1, 1, 1])
    found = segment(masks, [0, 0], [0.9, 0.95], (0,))
    assert found.segments.tolist() == [[0, 1, 1, 1]] and found.labels.tolist() == [0]
    assert len(segment(masks, [0, 0], [0.9, 0.95], (0,), overlap=0.3).labels) == 2


def test_panoptic_merges_stuff_but_not_things():
    masks = masks_of([1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1])
    found = segment(masks, [1, 0, 1, 0], [0.9, 0.9, 0.8, 0.9], (0,))
    assert found.segments.tolist() == [[1, 2, 1, 3]] and found.labels.tolist() == [1, 0, 0]


def test_panoptic_without_any_mask():
    found = panoptic(torch.zeros(0).long(), torch.zeros(0), iter([torch.zeros(0, 2, 3)]), (0,), 0.8)
    assert found.segments.tolist() == [[0, 0, 0]] * 2 and not len(found.labels)
