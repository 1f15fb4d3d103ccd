"""Parts of the R-CNN family give torchvision's numbers, to the bit."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, BoxCoder, Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

from segbench.models.bases.regions import Anchors, Coder, LowQualityMatcher, Proposals
from segbench.models.losses.sampling import Sampler

SIZES, RATIOS = ((8,), (16,)), ((0.5, 1.0, 2.0),) * 2


def boxes(count: int) -> torch.Tensor:
    corner = 50 * torch.rand(count, 2)
    return torch.cat([corner, corner + 1 + 30 * torch.rand(count, 2)], 1)


@pytest.fixture
def batch() -> tuple[ImageList, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    images = ImageList(torch.rand(2, 3, 64, 96), [(60, 90), (64, 96)])
    return images, {"0": torch.randn(2, 8, 16, 24), "1": torch.randn(2, 8, 8, 12)}


def test_anchors(batch):
    images, features = batch
    for own, theirs in zip(
        *(kind(SIZES, RATIOS)(images, [*features.values()]) for kind in (Anchors, AnchorGenerator))
    ):
        assert torch.equal(own, theirs)


def test_offsets():
    weights, found, truth = (10.0, 10.0, 5.0, 4.0), boxes(30), boxes(30)
    own, theirs = Coder(weights), BoxCoder(weights)
    assert torch.equal(own.encode([truth], [found])[0], theirs.encode([truth], [found])[0])
    offsets = torch.randn(30, 12)
    assert torch.equal(own.decode(offsets, [found]), theirs.decode(offsets, [found]))


def test_matches_of_low_quality():
    torch.manual_seed(1)
    quality = (torch.rand(4, 40) * 10).round() / 10  # with ties
    own, theirs = (kind(0.95, 0.3, allow_low_quality_matches=True) for kind in (LowQualityMatcher, Matcher))
    assert torch.equal(own(quality), theirs(quality))


def test_draws():
    labels = [torch.randint(-1, 3, (300,)), torch.zeros(5, dtype=torch.int64)]
    torch.manual_seed(2)
    sampler = Sampler(64, 0.25)
    own = sampler(labels)
    torch.manual_seed(2)
    theirs = BalancedPositiveNegativeSampler(64, 0.25)(labels)
    for side, masks in zip(own, theirs):
        assert [index.tolist() for index in side] == [mask.nonzero()[:, 0].tolist() for mask in masks]
    assert sampler.drawn == sum(len(index) for side in own for index in side)


@pytest.mark.parametrize("training", [True, False])
def test_proposals_and_their_losses(batch, training):
    images, features = batch
    torch.manual_seed(3)
    head = RPNHead(8, 3)
    counts = {"training": 50, "testing": 30}
    own = Proposals(Anchors(SIZES, RATIOS), head, 50, 30, overlap=0.7).train(training)
    theirs = RegionProposalNetwork(
        AnchorGenerator(SIZES, RATIOS), head, 0.7, 0.3, 256, 0.5, counts, counts, 0.7
    ).train(training)
    truth = [{"boxes": boxes(3)}, {"boxes": torch.zeros(0, 4)}]
    results = []
    for network in (own, theirs):
        torch.manual_seed(4)
        results.append(network(images, features, truth if training else None))
    for a, b in zip(*(proposals for proposals, _ in results)):
        assert torch.equal(a, b)
    assert results[0][1] == results[1][1]
