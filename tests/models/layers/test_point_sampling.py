import torch

from segbench.models.layers.point_sampling import lookup, sample_points, uncertain_points


def test_pixel_centres_give_the_pixels():
    maps = torch.rand(2, 3, 2, 4)
    y, x = torch.meshgrid((torch.arange(2) + 0.5) / 2, (torch.arange(4) + 0.5) / 4, indexing="ij")
    points = torch.stack([x, y], dim=-1).flatten(0, 1).expand(2, -1, -1)
    torch.testing.assert_close(sample_points(maps, points), maps.flatten(2))
    index = torch.tensor([1, 0])
    assert torch.equal(lookup(maps[:, 0], index, points), maps[index, 0].flatten(1))


def test_a_point_between_two_pixels_is_their_mean():
    maps = torch.tensor([[[[0.0, 4.0]]]])
    assert sample_points(maps, torch.tensor([[[0.5, 0.5]]])).item() == 2


def test_lookup_at_the_ends():
    maps = torch.arange(6).view(1, 2, 3)
    points = torch.tensor([[[0.0, 0.0], [1.0, 1.0]]])
    assert lookup(maps, torch.tensor([0]), points).tolist() == [[0, 5]]


def test_most_points_are_uncertain_and_none_of_these_void():
    """Logits cross 0 in the middle column; the left half of the image is void."""
    torch.manual_seed(0)
    logits = torch.linspace(-10, 10, 101).expand(3, 1, 100, 101)
    valid = torch.ones(2, 100, 101, dtype=torch.bool)
    valid[1, :, :50] = False
    points = uncertain_points(logits, valid, [2, 1], 400, 3.0, 0.75)
    assert points.shape == (3, 400, 2)
    assert ((points >= 0) & (points <= 1)).all()
    uncertain, uniform = points[:, :300], points[:, 300:]
    # a quarter of the points lies within 1/8 of the width around the zero; at the border samples fade to 0
    border = ((uncertain < 0.01) | (uncertain > 0.99)).any(-1)
    assert border.float().mean() < 0.1
    assert ((uncertain[:2, :, 0] - 0.5).abs() < 0.15)[~border[:2]].all()
    assert (uncertain[2, :, 0] >= 0.49).all()
    assert 0.2 < uniform[..., 0].std() < 0.35
