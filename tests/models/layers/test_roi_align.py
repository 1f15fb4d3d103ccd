import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import MultiScaleRoIAlign

from segbench.models.layers.roi_align import PyramidAlign


def pyramid(height, width, images=2, channels=5, levels=4):
    """Levels of stride 4, 8, ..., as of an image of height x width."""
    random = torch.Generator().manual_seed(height * width)
    return {
        str(i): torch.randn(images, channels, -(-height // r), -(-width // r), generator=random)
        for i, r in enumerate(4 * 2**i for i in range(levels))
    }


def random_boxes(counts, height, width, seed):
    """Also outside of the image, thinner than a pixel, and without any area."""
    random = torch.Generator().manual_seed(seed)
    boxes = []
    for count in counts:
        corner = torch.rand(count, 2, generator=random) * torch.tensor([1.4 * width, 1.4 * height]) - 20
        side = torch.rand(count, 2, generator=random) ** 4 * torch.tensor([1.5 * width, 1.5 * height])
        side[::5] = 0
        boxes.append(torch.cat([corner, corner + side], 1))
    return boxes


def both(align, levels, boxes, sizes):
    """(values, gradients of the levels) of ours and of torchvision."""
    results = []
    for kind in (PyramidAlign, MultiScaleRoIAlign):
        leaves = {name: level.clone().requires_grad_() for name, level in levels.items()}
        cells = kind.forward(align, leaves, boxes, sizes)
        weights = torch.linspace(-1, 1, cells.numel()).view(cells.shape)
        grads = torch.autograd.grad((cells * weights).sum(), [*leaves.values()], materialize_grads=True)
        results.append((cells.detach(), grads))
    return results


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(33, 400),
    width=st.integers(33, 400),
    counts=st.lists(st.integers(0, 7), min_size=2, max_size=2),
    size=st.sampled_from([1, 7, 14]),
    depth=st.sampled_from([1, 4]),
    seed=st.integers(0, 2**31),
)
def test_equals_torchvision(height, width, counts, size, depth, seed):
    levels = pyramid(height, width, levels=depth)
    boxes = random_boxes(counts, height, width, seed)
    align = PyramidAlign(size, [4 * 2**i for i in range(depth)])
    (ours, our_grads), (theirs, their_grads) = both(align, levels, boxes, [(height, width)] * 2)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    for a, b in zip(our_grads, their_grads):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_a_ramp_is_read_where_the_box_is():
    """Features that are the x of their pixel's corner: a cell's mean of points is its middle."""
    ramp = torch.arange(32.0).expand(1, 1, 32, 32)
    found = PyramidAlign(2, [4])({"0": ramp}, [torch.tensor([[8.0, 8.0, 40.0, 24.0]])], [(128, 128)])
    assert found.tolist() == [[[[4.0, 8.0], [4.0, 8.0]]]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keeps_the_format_of_the_features(dtype):
    levels = {name: level.to(dtype) for name, level in pyramid(64, 64).items()}
    found = PyramidAlign(7, [4, 8, 16, 32])(levels, random_boxes([3, 0], 64, 64, 0), [(64, 64)] * 2)
    assert found.shape == (3, 5, 7, 7) and found.dtype == dtype


def test_boxes_that_are_no_numbers_read_nothing():
    boxes = torch.tensor([[torch.nan] * 4, [torch.inf] * 4, [0.0, 0.0, 8.0, 8.0]])
    ones = {"0": torch.ones(1, 2, 16, 16)}
    found = PyramidAlign(7, [4])(ones, [boxes], [(64, 64)])
    assert found.sum((1, 2, 3)).tolist() == [0.0, 0.0, 98.0]
