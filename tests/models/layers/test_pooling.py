import torch
from torch import nn

from segbench.models.layers.pooling import PooledBatchNorm2d, PooledConv


def test_one_value_a_channel_is_normalised_by_the_running_statistics():
    norm = PooledBatchNorm2d(3)
    norm.running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    x = torch.tensor([2.0, 2.0, 2.0]).view(1, 3, 1, 1)
    for training in (True, False):
        found = norm.train(training)(x).flatten()
        torch.testing.assert_close(found, torch.tensor([1.0, 0.0, -1.0]), rtol=1e-4, atol=1e-4)
    assert norm.running_mean.tolist() == [1.0, 2.0, 3.0]


def test_more_values_are_normalised_as_ever():
    ours, plain = PooledBatchNorm2d(3), nn.BatchNorm2d(3)
    x = torch.randn(2, 3, 1, 1)
    assert torch.equal(ours(x), plain(x))
    assert torch.equal(ours.running_var, plain.running_var)


def test_a_bin_for_every_position_is_a_convolution_of_it():
    torch.manual_seed(0)
    branch = PooledConv(4, 3, 6).eval()
    x = torch.randn(1, 4, 6, 6)
    torch.testing.assert_close(branch(x), branch[3](branch[2](branch[1](x))))
    assert torch.equal(branch(x[..., :5, :4]).isfinite(), torch.ones(1, 3, 5, 4, dtype=torch.bool))
