from __future__ import annotations

import numpy as np
import pytest

from segbench.evaluation.instance.ap import Detections, precision
from segbench.evaluation.instance.resampled_ap import resampled_ap


def detections(seed: int, images: int = 12, number: int = 60) -> Detections:
    """Detections with matches that need not be nested, some of them ignored."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, images, number)
    bits = rng.integers(0, 2**10, number) * (rng.random(number) < 0.5)
    ignored = rng.integers(0, 2**10, number) * (rng.random(number) < 0.2)
    flags = [np.repeat(b[:, None], 4, 1).astype(np.uint16) for b in (bits, ignored)]
    truths = np.repeat(rng.integers(3, 9, images)[:, None], 4, 1)
    scores = np.sort(rng.random(number))[::-1]
    return Detections(image, scores, np.zeros(number, int), *flags, np.arange(images), truths)


def repeated(found: Detections, weights: np.ndarray) -> Detections:
    """The same with each image as often as its weight says."""
    own, true = weights[found.images], weights[found.true_images]
    columns = (found.images, found.scores, found.ranks, found.matched, found.ignored)
    return Detections(
        *(np.repeat(c, own, 0) for c in columns),
        *(np.repeat(c, true, 0) for c in (found.true_images, found.truths)),
    )


@pytest.mark.parametrize("seed", range(4))
def test_it_is_cocos_ap_of_the_repeated_images(seed: int) -> None:
    classes = [detections(seed), detections(seed + 100)]
    weights = np.random.default_rng(seed).multinomial(12, np.full(12, 1 / 12), 15)
    found = resampled_ap(classes, weights)
    apart = []
    for n, own in enumerate(weights):
        curves = np.stack([precision(repeated(c, own), 0) for c in classes])
        expected = {"ap": curves.mean(), "ap50": curves[:, 0].mean(), "ap75": curves[:, 5].mean()}
        apart += [abs(found[metric][n] - value) for metric, value in expected.items()]
    assert max(apart) < 1 / 101, "COCO compares floats: a level of recall may differ"
    assert np.quantile(apart, 0.8) < 1e-5


def test_blocks_of_draws_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = np.random.default_rng(0).multinomial(12, np.full(12, 1 / 12), 15)
    whole = resampled_ap([detections(0)], weights)
    monkeypatch.setattr("segbench.evaluation.instance.resampled_ap._AT_ONCE", 200)
    for metric, values in resampled_ap([detections(0)], weights).items():
        assert values == pytest.approx(whole[metric])


def test_undefined_without_truth_and_zero_without_detections() -> None:
    found = detections(0)
    weights = np.zeros((1, 12), int)
    assert np.isnan(resampled_ap([found], weights)["ap"]).all()
    nothing = Detections(
        *(np.zeros(0, int),) * 3, *(np.zeros((0, 4), np.uint16),) * 2, found.true_images, found.truths
    )
    assert resampled_ap([nothing], np.ones((1, 12)))["ap"] == 0
