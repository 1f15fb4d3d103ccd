import itertools

import torch

from segbench.models.losses.matching import assign


def test_finds_the_cheapest_assignment_of_every_layer_and_image():
    costs = torch.rand(2, 3, 4, 3, generator=torch.Generator().manual_seed(0))
    counts = [3, 0, 2]
    found = assign(costs, counts)
    assert found.shape == (2, 5)
    for layer in range(2):
        for image, start in ((0, 0), (2, 3)):
            cost = costs[layer, image]
            best = min(
                itertools.permutations(range(4), counts[image]),
                key=lambda queries: sum(cost[q, s].item() for s, q in enumerate(queries)),
            )
            assert found[layer, start : start + counts[image]].tolist() == list(best)


def test_more_segments_than_queries():
    costs = torch.tensor([[[[3.0, 1.0, 2.0]]]])
    assert assign(costs, [3]).tolist() == [[-1, 0, -1]]


def test_costs_that_are_not_finite_are_the_last_choice():
    costs = torch.tensor([[[[torch.nan, 1.0], [5.0, torch.inf]]]])
    assert assign(costs, [2]).tolist() == [[1, 0]]
