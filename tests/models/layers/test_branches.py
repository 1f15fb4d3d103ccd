import pytest
import torch
from torch import nn

from segbench.errors import SegbenchError
from segbench.models.layers.branches import Branches


class Sum(nn.Module):
    """Two levels: the sum over the channels, times a parameter, and its half."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.channels, self.reductions = [1, 1], [1, 2]
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, images):
        total = images.sum(1, keepdim=True) * self.factor
        return [total, total[..., ::2, ::2] / 2]


def test_features_are_averaged_over_the_modalities():
    images = torch.tensor([1.0, 2.0, 6.0])[None, :, None, None].expand(2, 3, 4, 4)
    fine, coarse = Branches(Sum, 3, [[1, 3], [2]])(images)  # 1 + 6, and 2
    assert fine.shape == (2, 1, 4, 4) and coarse.shape == (2, 1, 2, 2)
    assert fine.unique().tolist() == [4.5] and coarse.unique().tolist() == [2.25]
    assert Branches(Sum, 3)(images)[0].unique().tolist() == [3.0]  # each channel is a modality


def test_dropped_modalities_change_nothing_and_are_not_counted(monkeypatch):
    network = Branches(Sum, 3, dropout=0.5).train()
    present = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])  # of two images
    monkeypatch.setattr(network, "present", lambda images: present)
    images = torch.tensor([[2.0, 100.0, 4.0], [100.0, 100.0, 5.0]])[..., None, None].requires_grad_()
    fine, _ = network(images)
    assert fine.flatten().tolist() == [3.0, 5.0]
    fine.sum().backward()
    assert (images.grad[..., 0, 0] != 0).tolist() == [[True, False, True], [False, False, True]]
    assert network.encoders[1].factor.grad.item() == 0  # a gradient, though dropped in both images


def test_dropout_spares_one_modality_and_prediction():
    torch.manual_seed(0)
    network = Branches(Sum, 4, dropout=0.3).train()
    images = torch.zeros(4000, 4, 1, 1)
    present = network.present(images)
    assert present.shape == (4, 4000) and set(present.unique().tolist()) == {0.0, 1.0}
    # all four would be dropped with .3 ** 4 = .0081; then one stays
    assert present.mean(1).tolist() == pytest.approx([0.7 + 0.0081 / 4] * 4, abs=0.03)
    network.dropout = 0.99
    assert network.present(images).sum(0).min() == 1
    assert network.eval().present(images).all()


@pytest.mark.parametrize(
    "modalities", [[[1, 2]], [[1, 2], [2, 3]], [[0, 1], [2]], [[1], [2, 3, 4]], [[1, 2, 3], []], []]
)
def test_each_channel_is_in_one_modality(modalities):
    with pytest.raises(SegbenchError, match="does not divide the 3 channels") as error:
        Branches(Sum, 3, modalities)
    assert error.value.where == "options.modalities" and "from 1 to 3" in error.value.remedy


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_dropout_is_a_probability(dropout):
    with pytest.raises(SegbenchError, match=f"{dropout} is no probability"):
        Branches(Sum, 3, dropout=dropout)
