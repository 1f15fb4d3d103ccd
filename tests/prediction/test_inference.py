from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from tiny_networks import Everything, Plain

from segbench.contract.recipe import Inference
from segbench.contract.view import Category, View
from segbench.errors import SegbenchError
from segbench.models.saved import Model
from segbench.prediction.inference import Predictor, input_size, window_spans
from segbench.training.precision import Precision

CPU = Precision(torch.device("cpu"), bf16=False)
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


def test_windows_need_logits() -> None:
    with pytest.raises(SegbenchError, match="Everything has no map of logits"):
        predictor(Inference(window=(8, 8)), Everything)
