from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from tiny_networks import Everything, Plain
from torch.nn.functional import interpolate
from torchvision.transforms.v2 import functional as F

from segbench.contract.recipe import Inference
from segbench.contract.view import BACKGROUND, Category, View
from segbench.errors import SegbenchError
from segbench.models.network import SemanticNetwork
from segbench.models.saved import Model
from segbench.prediction import semantic
from segbench.prediction.inference import Predictor
from segbench.prediction.windows import input_size, window_spans, window_weights
from segbench.training.precision import Precision

CPU = Precision(torch.device("cpu"), "fp32")
VIEW = View("semantic", tuple(Category(id=i, name=str(i), isthing=False, color=(i, i, i)) for i in (1, 2, 3)))


def predictor(inference: Inference, network=Plain) -> Predictor:
    torch.manual_seed(0)
    model = Model(network(VIEW, 3).eval(), None, "", "toy", [0.5] * 3, [0.25] * 3, levels=None)
    return Predictor(model, inference, CPU)


@pytest.mark.parametrize(
    ("inference", "expected"),
    [
        ({}, (60, 100)),
        ({"short_side": 30}, (30, 50)),
        ({"short_side": 120}, (120, 200)),
        ({"short_side": 120, "max_side": 150}, (90, 150)),
        ({"max_side": 50}, (30, 50)),
        ({"max_side": 500}, (60, 100)),
    ],
)
def test_fed_size(inference: dict, expected: tuple[int, int]) -> None:
    assert input_size((60, 100), Inference(**inference)) == expected
    assert input_size((100, 60), Inference(**inference)) == expected[::-1]


@pytest.mark.parametrize(
    ("length", "window", "overlap"), [(100, 32, 0.5), (33, 32, 0.0), (20, 32, 0.5), (64, 32, 0)]
)
def test_windows_cover_everything(length: int, window: int, overlap: float) -> None:
    spans = window_spans(length, window, overlap)
    covered = {i for span in spans for i in range(span.start, span.stop)}
    assert covered == set(range(length))
    assert {span.stop - span.start for span in spans} == {min(window, length)}
    assert len(spans) == len({span.start for span in spans})
    assert all(b.start - a.start <= window * (1 - overlap) for a, b in pairwise(spans))


def test_logits_are_averaged_by_overlap() -> None:
    image = torch.randint(0, 256, (1, 3, 40, 50), dtype=torch.uint8)
    one = predictor(Inference(window=(24, 24), overlap=0.5))
    logits = torch.zeros(3, 40, 50)
    count = torch.zeros(40, 50)
    normalised = (image / 255 - 0.5) / 0.25
    for top in (0, 12, 16):
        for left in (0, 12, 24, 26):
            with torch.no_grad():
                part = one._network(normalised[..., top : top + 24, left : left + 24])[0]
            logits[:, top : top + 24, left : left + 24] += part
            count[top : top + 24, left : left + 24] += 1
    (found,) = one(image)
    assert torch.equal(found.semantic, (logits / count).argmax(0))


def test_one_window_over_all_is_the_whole_image() -> None:
    image = torch.randint(0, 256, (2, 3, 20, 30), dtype=torch.uint8)
    whole, slid = predictor(Inference())(image), predictor(Inference(window=(64, 64)))(image)
    for a, b in zip(whole, slid, strict=True):
        assert torch.equal(a.semantic, b.semantic)


def test_results_have_the_size_of_the_image() -> None:
    image = torch.randint(0, 256, (1, 3, 37, 51), dtype=torch.uint8)
    for inference in (Inference(short_side=16), Inference(short_side=64, window=(32, 32))):
        (found,) = predictor(inference)(image)
        assert found.semantic.shape == (37, 51)


@pytest.mark.parametrize(
    ("inference", "wrong"),
    [
        (
            {"scales": [0.5, 1]},
            "recipe.inference.scales: Everything has no map of logits to average over scales .value: .0.5",
        ),
        ({"flip": True}, "recipe.inference.flip: Everything has no map of logits"),
        ({"window": (8, 8), "blend": "gaussian"}, "recipe.inference.blend: Everything has no map of logits"),
        (
            {"window": (8, 8), "overlap": 0},
            "recipe.inference.overlap: Everything joins objects by the overlap",
        ),
    ],
)
def test_what_needs_a_map_of_logits(inference: dict, wrong: str) -> None:
    with pytest.raises(SegbenchError, match=wrong):
        predictor(Inference(**inference), Everything)
    predictor(Inference(**inference))


def probabilities(one: Predictor, image: torch.Tensor) -> torch.Tensor:
    """Probabilities of B x 3 x h x w normalised images at 40 x 50."""
    with torch.no_grad():
        return interpolate(one._network(image), size=(40, 50), mode="bilinear").softmax(1)


def test_probabilities_are_averaged_over_scales_and_flips() -> None:
    image = torch.randint(0, 256, (2, 3, 40, 50), dtype=torch.uint8)
    one = predictor(Inference(scales=[0.5, 1.5], flip=True))
    normalised = (image / 255 - 0.5) / 0.25
    total = torch.zeros(2, 3, 40, 50)
    for size in ((20, 25), (60, 75)):
        fed = F.resize(normalised, list(size), antialias=True)
        total += probabilities(one, fed)
        total += probabilities(one, fed.flip(-1)).flip(-1)
    found = torch.stack([p.semantic for p in one(image)])
    margin = total.topk(2, 1).values.diff(dim=1).abs()[:, 0] > 1e-4
    assert margin.float().mean() > 0.9
    assert torch.equal(found[margin], total.argmax(1)[margin])
    assert (found != torch.stack([p.semantic for p in predictor(Inference())(image)])).any()


def test_flipping_an_image_flips_its_averaged_prediction() -> None:
    image = torch.randint(0, 256, (1, 3, 40, 50), dtype=torch.uint8)
    one = predictor(Inference(flip=True))
    (found,), (mirrored,) = one(image), one(image.flip(-1))
    assert torch.equal(mirrored.semantic.flip(-1), found.semantic)


class Sigmoid(Plain):
    """Two organs that do not overlap, and the background."""

    def __init__(self, view: View, in_channels: int) -> None:
        super().__init__(view, in_channels)
        SemanticNetwork.__init__(self, view, in_channels, activation="sigmoid")
        self.head = torch.nn.Conv2d(in_channels, self.outputs, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(images) * 4


def test_a_class_is_present_where_its_mean_probability_is_above_one_half() -> None:
    view = View("semantic", (BACKGROUND, *VIEW.classes[:2]))
    torch.manual_seed(0)
    one = Predictor(
        Model(Sigmoid(view, 3).eval(), None, "", "toy", [0.5] * 3, [0.25] * 3, levels=None),
        Inference(scales=[1.0, 0.25]),
        CPU,
    )
    image = torch.randint(0, 256, (1, 3, 40, 48), dtype=torch.uint8)
    normalised = (image / 255 - 0.5) / 0.25
    with torch.no_grad():
        small = one._network(F.resize(normalised, [10, 12], antialias=True))
        mean = (
            one._network(normalised).sigmoid() + interpolate(small, size=(40, 48), mode="bilinear").sigmoid()
        ) / 2
    expected = torch.where(mean.amax(1) > 0.5, mean.argmax(1) + 1, 0)
    (found,) = one(image)
    clear = ((mean - 0.5).abs() > 1e-4).all(1)[0] & ((mean[:, 0] - mean[:, 1]).abs() > 1e-4)[0]
    assert torch.equal(found.semantic[clear], expected[0][clear])
    assert set(expected.unique().tolist()) == {0, 1, 2}


def test_gaussian_weights_are_those_of_nnunet() -> None:
    """scipy's filter of a point in the middle, with a standard deviation of 1/8 of the window."""
    point = np.zeros((33, 65))
    point[16, 32] = 1
    wanted = gaussian_filter(point, [33 / 8, 65 / 8], mode="constant")
    found = window_weights(33, 65, "gaussian", torch.device("cpu")).numpy()
    assert np.allclose(found, wanted / wanted.max(), atol=1e-4)
    assert found.min() > 0


def test_windows_are_weighted() -> None:
    """Two windows of constant logits: the nearer centre decides."""

    class Halves(Plain):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            left = images[:, :1].mean((2, 3), keepdim=True) > 0
            return torch.cat([left * 1.0, ~left * 1.1, left * 0.0], 1).expand(-1, -1, *images.shape[2:])

    image = torch.zeros(1, 3, 8, 30, dtype=torch.uint8)
    image[..., :15] = 255  # windows at columns 0 to 20 and 10 to 30
    (uniform,) = predictor(Inference(window=(8, 20)), Halves)(image)
    (gaussian,) = predictor(Inference(window=(8, 20), blend="gaussian"), Halves)(image)
    assert uniform.semantic[0].tolist() == [0] * 10 + [1] * 20
    assert gaussian.semantic[0].tolist() == [0] * 15 + [1] * 15


def test_strips_of_rows_change_nothing(monkeypatch) -> None:
    image = torch.randint(0, 256, (2, 3, 53, 40), dtype=torch.uint8)
    for inference in (
        Inference(window=(16, 16), overlap=0.4),
        Inference(window=(16, 16), short_side=70, scales=[1.0, 0.3], flip=True),
        Inference(window=(16, 16), short_side=20),
        Inference(scales=[2.0]),
    ):
        whole = predictor(inference)(image)
        monkeypatch.setattr(semantic, "STRIP", 3 * 2 * 40 * 3)  # three rows
        strips = predictor(inference)(image)
        monkeypatch.undo()
        for a, b in zip(whole, strips, strict=True):
            assert torch.equal(a.semantic, b.semantic)


def test_windows_hold_logits_of_one_row_of_windows(monkeypatch) -> None:
    image = torch.zeros(1, 3, 200, 40, dtype=torch.uint8)
    largest = []
    zeros = torch.zeros

    def counted(*size: int, **options) -> torch.Tensor:
        largest.append(size)
        return zeros(*size, **options)

    monkeypatch.setattr(torch, "zeros", counted)
    predictor(Inference(window=(16, 16)))(image)
    assert max(largest, key=lambda size: np.prod(size)) == (1, 3, 16, 40)
