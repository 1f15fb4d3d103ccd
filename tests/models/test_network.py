from types import SimpleNamespace

import pytest
import torch
from network_tester import BOX, DISC, GROUND
from tiny_networks import make_spec
from torch import nn

from segbench.contract.prediction import IGNORE
from segbench.contract.recipe import Inference
from segbench.contract.view import BACKGROUND, View
from segbench.errors import SegbenchError
from segbench.models.deeplabv3 import DeepLabV3
from segbench.models.deeplabv3plus import DeepLabV3Plus
from segbench.models.dilated import DilatedFCN
from segbench.models.fcn import FCN
from segbench.models.linknet import LinkNet
from segbench.models.network import SemanticNetwork
from segbench.models.pspnet import PSPNet
from segbench.models.saved import Model, build_network, load_model, save_model
from segbench.models.unet import UNet
from segbench.prediction.inference import Predictor
from segbench.training.precision import Precision

ONE = View("semantic", (BACKGROUND, DISC))
TWO = View("semantic", (BACKGROUND, DISC, BOX))
LABELLED = View("semantic", (GROUND, DISC))
"""A view without background: each pixel has a class."""


class Copy(SemanticNetwork):
    """Its logits are its images."""

    def forward(self, images):
        return images


def sigmoid(view, **options):
    return Copy(view, len(view.classes), activation="sigmoid", **options)


def test_a_sigmoid_has_a_logit_for_each_class_but_the_background():
    assert [sigmoid(view).outputs for view in (ONE, TWO, LABELLED)] == [1, 2, 2]
    assert Copy(TWO, 3).outputs == 3


@pytest.mark.parametrize(
    ("view", "logits", "expected"),
    [
        (ONE, [[0.1, -0.1, 0.0]], [1, 0, 0]),  # a probability of 0.5 is not above the threshold
        (TWO, [[0.1, -1.0, -0.2, 2.0], [0.2, -2.0, 0.3, 1.0]], [2, 0, 2, 1]),
        (LABELLED, [[-2.0, 1.0], [-1.0, -3.0]], [1, 0]),
    ],
    ids=["one class", "two classes", "no background"],
)
def test_a_pixel_has_its_most_probable_class_above_one_half(view, logits, expected):
    images = torch.tensor(logits)[None, :, None]
    (found,) = sigmoid(view).predict(images, [(1, images.shape[-1])])
    assert found.semantic.tolist() == [expected]


def test_binary_losses_are_of_the_classes_without_the_background():
    truth = torch.tensor([[0, 1, 2, IGNORE]])
    right = torch.tensor([[-30.0, 30, -30, 30], [-30, -30, 30, 30]])[None, :, None]
    network = sigmoid(TWO, loss={"cross_entropy": 1.0, "dice": 1.0})
    losses = network.losses(right, [{"semantic": truth}])
    assert [round(loss.item(), 6) for loss in losses.values()] == [0, 0]
    losses = network.losses(-right, [{"semantic": truth}])
    assert losses["cross_entropy"].item() == pytest.approx(30)
    assert losses["dice"].item() == pytest.approx(1 - 1 / 4)  # 1 true and 2 predicted pixels, smoothed


@pytest.mark.parametrize(("activation", "name"), [("softmax", "focal"), ("sigmoid", "ohem")])
def test_unknown_losses_are_refused(activation, name):
    with pytest.raises(SegbenchError, match=f"no loss '{name}' with activation '{activation}'") as error:
        Copy(TWO, 3, {"dice": 1.0, name: 1.0}, activation)
    assert error.value.where == "options.loss" and "cross_entropy" in error.value.remedy


def test_windows_of_a_sigmoid_network():
    network = nn.Module.eval(sigmoid(ONE))
    model = Model(network, None, "", "toy", [0.5], [1.0], levels=None)
    predictor = Predictor(model, Inference(window=(8, 8)), Precision(torch.device("cpu"), "fp32"))
    images = torch.zeros(1, 1, 12, 20)
    images[..., 3:7, 5:15] = 1.0
    assert torch.equal(predictor(images)[0].semantic, (images[0, 0] > 0.5).long())


@pytest.mark.parametrize("network", [DilatedFCN, DeepLabV3, DeepLabV3Plus, PSPNet, LinkNet, FCN])
def test_semantic_networks_can_have_one_logit(network):
    torch.manual_seed(0)
    made = network(ONE, 1, backbone="test_resnet", activation="sigmoid", loss={"dice": 1.0})
    images = torch.randn(2, 1, 64, 64)
    targets = [{"semantic": torch.zeros(64, 64, dtype=torch.int64).fill_diagonal_(1)}] * 2
    losses = made.losses(images, targets)
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    with torch.no_grad():
        assert made.eval()(images).shape == (2, 1, 64, 64)


BOTH = View("semantic", (DISC, BOX), overlapping=True)


def test_a_pixel_has_all_classes_above_one_half_if_they_overlap():
    images = torch.tensor([[0.1, -1.0, 3.0, 0.0], [0.2, 2.0, -0.1, -1.0]])[None, :, None]
    (found,) = sigmoid(BOTH).predict(images, [(1, 4)])
    assert found.semantic.tolist() == [[3, 2, 1, 0]] and found.semantic.dtype == torch.int64


def test_losses_of_classes_that_overlap():
    truth = torch.tensor([[0, 1, 2, 3, IGNORE]])
    right = torch.tensor([[-30.0, 30, -30, 30, 0], [-30, -30, 30, 30, 0]])[None, :, None]
    network = sigmoid(BOTH, loss={"cross_entropy": 1.0, "dice": 1.0})
    losses = network.losses(right, [{"semantic": truth}])
    assert [round(loss.item(), 6) for loss in losses.values()] == [0, 0]
    assert network.losses(-right, [{"semantic": truth}])["cross_entropy"].item() == pytest.approx(30)


def test_classes_that_overlap_are_learned():
    torch.manual_seed(0)
    network = UNet(BOTH, 1, [8, 8, 8], activation="sigmoid", loss={"cross_entropy": 1.0, "dice": 1.0})
    truth = torch.zeros(1, 32, 32, dtype=torch.int64)
    truth[:, 4:20, 4:20] += 1
    truth[:, 12:28, 12:28] += 2
    images = truth[:, None].float() - 1.5
    optimizer = torch.optim.AdamW(network.parameters(), 0.02)
    for _ in range(60):
        loss = sum(network.train().losses(images, [{"semantic": truth[0]}]).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    (found,) = network.eval().predict(images, [(32, 32)])
    assert (found.semantic == truth[0]).float().mean() > 0.97


def test_a_network_of_one_class_a_pixel_is_refused_if_classes_overlap():
    spec = make_spec()
    with pytest.raises(SegbenchError, match="predicts one class for a pixel") as error:
        build_network(spec, BOTH, 3)
    assert error.value.where == "tiny_networks:Plain" and "activation: sigmoid" in error.value.remedy


def test_a_saved_network_knows_that_classes_overlap(tmp_path):
    spec = make_spec(options={"widths": [4, 4], "activation": "sigmoid"})
    spec = spec.model_copy(update={"class_path": "segbench.models.unet:UNet"})
    info = SimpleNamespace(name="toy", channels=1, mean=[0.5], std=[0.25], levels=None)
    weights = build_network(spec, BOTH, 1).state_dict()
    save_model(tmp_path / "model.pt", spec, BOTH, info, "", weights)
    assert load_model(tmp_path / "model.pt", torch.device("cpu")).view == BOTH
