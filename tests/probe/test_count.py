"""What is counted of networks, on small images."""

from __future__ import annotations

import pytest
import torch
from test_transformers_universal import ONEFORMER
from torch import nn

from segbench.jobs.cost.work import Network
from segbench.probe.count import build, count, counting


def plain(width: int = 8) -> Network:
    return Network(class_path="tiny_networks:Plain", options={"width": width}, task="semantic")


def test_a_convolution_is_counted_exactly_and_scales_with_pixels_and_classes() -> None:
    found = count(plain())
    per_pixel = 2 * (9 * 3 * 8 + 8 * 21)
    assert found.forward.at(100 * 100, 20) == pytest.approx(per_pixel * 100 * 100)
    assert found.step(50, 20) == pytest.approx(3 * per_pixel * 50)
    more = 2 * (9 * 3 * 8 + 8 * 121)
    assert found.forward.at(640 * 480, 120) == pytest.approx(more * 640 * 480, rel=1e-6)
    assert found.prediction.at(200 * 100, 20) == pytest.approx(per_pixel * 200 * 100)
    assert found.parameters == 9 * 3 * 8 + 8 + 8 * 21 + 21
    assert found.kept.at(1000, 20) > 4 * 8 * 1000  # at least the features between the convolutions


def test_a_network_that_needs_values_is_counted_on_the_processor() -> None:
    found = count(Network(class_path="tiny_networks:Everything", options={}, task="panoptic"))
    assert found.forward.at(10_000, 20) == pytest.approx(2 * 3 * 20 * 10_000)


def test_a_network_of_another_library_that_torch_cannot_track_is_counted() -> None:
    """torch's tracker of modules fails on OneFormer's text encoder, whose inputs have no gradients."""
    pytest.importorskip("transformers")
    path = "segbench.models.transformers_universal:TransformersUniversal"
    found = count(Network(class_path=path, options=ONEFORMER, task="panoptic"))
    assert found.forward.by_pixel > found.prediction.by_pixel * 0.9 and found.parameters > 100_000


def test_the_random_state_decides_nothing() -> None:
    torch.manual_seed(3)
    assert count(plain()) == count(plain())


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_gradients_of_a_convolution_cost_twice_the_convolution(kind: type[nn.Module], groups: int) -> None:
    layer = kind(4, 8, 3, stride=2, groups=groups)
    x = torch.randn(2, 4, 9, 9, requires_grad=True)
    with counting() as counter:
        out = layer(x)
        forward = counter.get_total_flops()
        out.sum().backward()
    assert counter.get_total_flops() == 3 * forward


def test_half_of_the_classes_of_a_panoptic_network_are_stuff() -> None:
    built = build(Network(class_path="tiny_networks:Everything", options={}, task="panoptic"), 20)
    assert len(built.view.classes) == 20 and len(built.view.thing_indices) == 10
