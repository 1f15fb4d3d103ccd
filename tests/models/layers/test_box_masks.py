"""Masks are pasted as torchvision pastes them, box by box."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import paste_masks_in_image

from segbench.models.layers import box_masks

side = st.integers(1, 60)


def smooth(count: int, cells: int) -> torch.Tensor:
    """Probabilities that change slowly, as those of a network do: N x 1 x cells x cells."""
    return F.interpolate(4 * torch.randn(count, 1, 4, 4), (cells, cells), mode="bilinear").sigmoid()


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(side, side),
    st.integers(1, 6),
    st.integers(1, 30),
    st.integers(0, 2**31),
    st.sampled_from([0.01, 0.3, 1.0]),
)
def test_pasted_masks_are_those_of_torchvision(size, count, cells, seed, scale):
    """Boxes of any place and size inside of the image, also of less than a pixel, and at its border."""
    torch.manual_seed(seed)
    first = torch.rand(count, 2)
    second = (first + scale * (torch.rand(count, 2) - 0.5)).clamp(0, 1)
    corners = torch.stack([first, second], 1) * torch.tensor([size[1], size[0]])
    boxes = torch.cat([corners.amin(1), corners.amax(1)], 1)
    masks = smooth(count, cells)
    expected = paste_masks_in_image(masks, boxes, size)[:, 0]
    found = box_masks.paste(masks, boxes, size)
    assert found.shape == expected.shape and found.dtype == torch.bool
    assert ((found == (expected > 0.5)) | ((expected - 0.5).abs() < 1e-5)).all()


def test_no_boxes_give_no_masks():
    assert box_masks.paste(torch.rand(0, 1, 28, 28), torch.rand(0, 4), (5, 6)).shape == (0, 5, 6)
