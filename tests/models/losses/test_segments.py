import torch

from segbench.contract.prediction import IGNORE
from segbench.models.losses.segments import segments_of


def test_segments_of_a_semantic_map_are_its_classes():
    semantic = torch.tensor([[[2, 2, IGNORE]], [[0, 2, 1]], [[IGNORE, IGNORE, IGNORE]]])
    valid = torch.ones(1, 3, dtype=torch.bool)
    padded = torch.tensor([[True, True, False]])
    targets = [{"semantic": s, "valid": v} for s, v in zip(semantic, (valid, padded, valid))]
    found = segments_of("semantic", targets, 3)
    assert found.labels.tolist() == [2, 0, 2]
    assert found.image.tolist() == [0, 1, 1]
    assert found.counts == [1, 2, 0] and found.slot.tolist() == [0, 0, 1]
    assert found.masks[:, 0].int().tolist() == [[1, 1, 0], [1, 0, 0], [0, 1, 0]]
    assert found.valid[:, 0].int().tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]


def test_segments_of_instances_keep_their_order():
    masks = torch.rand(3, 2, 2) > 0.5
    valid = torch.ones(2, 2, dtype=torch.bool)
    targets = [
        {"labels": torch.tensor([1]), "masks": masks[:1], "valid": valid},
        {"labels": torch.tensor([4, 3]), "masks": masks[1:], "valid": valid},
    ]
    found = segments_of("instance", targets)
    assert found.labels.tolist() == [1, 4, 3] and torch.equal(found.masks, masks)
    assert found.by_image(found.labels).tolist() == [[1, 0], [4, 3]]
