"""Parts that replace operations for which the host waits: equal values, and the stated waits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pretend_accelerator import counted
from torchvision.ops import batched_nms

from segbench.copying import download, upload
from segbench.models.layers.mask_prediction import histogram
from segbench.models.layers.selection import indices, suppressed

CPU = torch.device("cpu")


def test_indices_of_many_masks_wait_once(device):
    masks = [torch.tensor([True, False, True]), torch.zeros(4, dtype=torch.bool), torch.ones(1).bool()]
    with counted() as waits:
        found = indices([mask.to(device, non_blocking=True) for mask in map(torch.Tensor.pin_memory, masks)])
    assert len(waits) == 1
    assert [index.tolist() for index in found] == [index.tolist() for index in indices(masks)]
    assert [index.tolist() for index in found] == [[0, 2], [], [0]]


@pytest.mark.parametrize("count", [0, 1, 80])
def test_suppression_is_that_of_torchvision(device, count):
    torch.manual_seed(count)
    corner = 40 * torch.rand(count, 2)
    boxes = torch.cat([corner, corner + 5 + 20 * torch.rand(count, 2)], 1)
    scores, groups = torch.rand(count), torch.randint(3, (count,))
    own = [upload(part, device) for part in (boxes, scores, groups)]
    with counted() as waits:
        found = suppressed(*own, 0.5)
    assert len(waits) == (count > 0)
    assert torch.equal(found.cpu(), batched_nms(boxes, scores, groups, 0.5))


def test_histograms_do_not_wait(device):
    values, weights = torch.tensor([[0, 3], [3, 1]]), torch.tensor([[1.0, 2.0], [0.5, 4.0]])
    own = [upload(part, device) for part in (values, weights)]
    with counted() as waits:
        plain, weighted = histogram(own[0], 5), histogram(*own[:1], 5, own[1])
    assert not waits
    assert plain.tolist() == histogram(values, 5).tolist() == [1, 1, 0, 2, 0]
    assert weighted.tolist() == histogram(values, 5, weights).tolist() == [1, 4, 0, 2.5, 0]


@pytest.mark.parametrize("values", [3, [[1, 2]], (1.5, 2), np.arange(3), torch.ones(2, 2)], ids=str)
def test_uploads_do_not_wait_and_downloads_wait_once(device, values):
    with counted() as waits:
        found = upload(values, device)
    assert not waits and found.device == device
    with counted() as waits:
        (copy, host) = download([found, torch.ones(1)])
    assert [wait.why for wait in waits] == ["synchronize"]
    assert torch.equal(copy, torch.as_tensor(values)) and host.device == CPU
    assert upload(found, device) is found
