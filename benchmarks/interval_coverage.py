"""How often intervals of 95 % contain the true score, on truths made for it.

    python -m benchmarks.interval_coverage --repetitions 400 --draws 300

Two networks are scored on images drawn from a population whose score is known from a very large sample.
Images differ in difficulty, which both networks share; sizes of regions are log-normal. `rare`: one class is
in 5 % of the images (Dice: in 10 %). The table compares the percentile bootstrap, BCa (Efron, JASA 82, 1987),
and the interval of `segbench.evaluation.intervals`, for the score of one network, and the last one also for
the paired difference of both.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
from scipy.special import expit, ndtr, ndtri

from segbench.evaluation.bootstrap import draws
from segbench.evaluation.instance.ap import Detections
from segbench.evaluation.instance.resampled_ap import resampled_ap
from segbench.evaluation.intervals import error, of_difference, of_score
from segbench.evaluation.jackknife import MOST_BLOCKS
from segbench.evaluation.resampled import panoptic_scores, semantic_scores

COMMON, RARE = (1.0, 0.8, 0.5), (1.0, 0.5, 0.05)
"""Shares of the images that have each class."""
SHIFT = 0.4
"""How much better the second network is, on the log odds of a pixel or object."""
Scores = Callable[[np.ndarray], np.ndarray]
Made = tuple[Scores, Scores, np.ndarray]
"""Two networks as functions from weights, B x images, to B scores; and the classes in the images, N x K."""


def quality(rng: np.random.Generator, images: int, classes: int, shift: float) -> list[np.ndarray]:
    """Log odds of both networks, images x classes each: of the image, and of each network alone."""
    hard = 0.9 + rng.normal(0, 0.7, (images, 1)) + rng.normal(0, 0.5, (images, classes))
    return [hard + own + rng.normal(0, 0.4, (images, classes)) for own in (0.0, shift)]


def semantic(shares: tuple[float, ...], metric: str) -> Callable[[np.random.Generator, int, float], Made]:
    def make(rng: np.random.Generator, images: int, shift: float) -> Made:
        present = rng.random((images, len(shares))) < shares
        true = present * rng.lognormal(0, 1, present.shape)
        true = np.concatenate([6 * rng.lognormal(0, 0.3, (images, 1)), true], 1)  # the background
        networks = []
        for own in quality(rng, images, true.shape[1], shift):
            correct = true * expit(own + np.r_[2.0, np.zeros(len(shares))])
            lost = (true - correct).sum(1, keepdims=True)
            spread = np.r_[0.5, np.full(len(shares), 0.5 / len(shares))]
            networks.append(np.stack([correct, true, correct + lost * spread], -1))

        def score(counts: np.ndarray) -> Scores:
            objects = [False] + [True] * len(shares)
            return lambda weights: semantic_scores(np.tensordot(weights, counts, 1), objects)[metric]

        return score(networks[0]), score(networks[1]), present

    return make


def objects_of(
    rng: np.random.Generator, images: int, shares: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Draw which classes each image has, and their numbers of objects: images x classes."""
    present = rng.random((images, len(shares))) < shares
    return present, present * (1 + rng.poisson(rng.gamma(1, 1.5, (images, 1)), present.shape))


def panoptic(shares: tuple[float, ...]) -> Callable[[np.random.Generator, int, float], Made]:
    def make(rng: np.random.Generator, images: int, shift: float) -> Made:
        present, true = objects_of(rng, images, shares)
        networks = []
        for own in quality(rng, images, len(shares), shift):
            hits = rng.binomial(true, expit(own))
            iou = hits * np.clip(0.8 + 0.05 * own, 0.5, 1)
            networks.append(
                np.stack([iou, hits, rng.poisson(0.3 * np.array(shares), hits.shape), true - hits], -1)
            )

        def score(counts: np.ndarray) -> Scores:
            return lambda weights: panoptic_scores(np.tensordot(weights, counts, 1), [True] * len(shares))[
                "pq"
            ]

        return score(networks[0]), score(networks[1]), present

    return make


def detection(shares: tuple[float, ...]) -> Callable[[np.random.Generator, int, float], Made]:
    def make(rng: np.random.Generator, images: int, shift: float) -> Made:
        present, true = objects_of(rng, images, shares)
        networks = []
        for own in quality(rng, images, len(shares), shift):
            hits = rng.binomial(true, expit(own))
            false = rng.poisson(2 * np.array(shares), hits.shape)
            networks.append(
                [_detections(rng, true[:, k], hits[:, k], false[:, k], own[:, k]) for k in range(len(shares))]
            )

        def score(found: list[Detections]) -> Scores:
            return lambda weights: resampled_ap(found, weights)["ap"]

        return score(networks[0]), score(networks[1]), present

    return make


def _detections(
    rng: np.random.Generator, true: np.ndarray, hits: np.ndarray, false: np.ndarray, own: np.ndarray
) -> Detections:
    """Detections of one class: true ones with IoU and score that rise with the quality, and false ones."""
    at = np.arange(len(true))
    images = np.concatenate([at.repeat(hits), at.repeat(false)])
    iou = 0.5 + 0.5 * expit(own.repeat(hits) + rng.normal(-0.5, 1, hits.sum()))
    reached = np.ceil((iou - 0.5) / 0.05).astype(int).clip(1, 10)  # number of thresholds
    bits = np.concatenate([(1 << reached) - 1, np.zeros(false.sum(), int)])
    scores = np.concatenate(
        [rng.normal(1, 1, hits.sum()) + own.repeat(hits), rng.normal(-0.5, 1, false.sum())]
    )
    order = np.argsort(-scores)
    matched = np.repeat(bits[order, None], 4, 1).astype(np.uint16)
    blank = np.zeros(len(order), int)
    return Detections(
        images[order],
        scores[order],
        blank,
        matched,
        np.zeros_like(matched),
        at,
        np.repeat(true[:, None], 4, 1),
    )


CASES = {
    "mIoU": semantic(COMMON, "miou"),
    "mIoU, rare": semantic(RARE, "miou"),
    "Dice, one class": semantic((0.8,), "dice_no_background"),
    "Dice, rare": semantic((0.1,), "dice_no_background"),
    "AP": detection(COMMON),
    "AP, rare": detection(RARE),
    "PQ": panoptic(COMMON),
    "PQ, rare": panoptic(RARE),
}


def bca(value: float, drawn: np.ndarray, without: np.ndarray) -> tuple[float, float]:
    """The bias-corrected and accelerated interval (Efron, JASA 82, 1987)."""
    below = np.clip((drawn < value).mean() + (drawn == value).mean() / 2, 1e-3, 1 - 1e-3)
    bias = ndtri(below)
    pull = without.mean() - without
    spread = (pull**2).sum() ** 1.5
    acceleration = (pull**3).sum() / (6 * spread) if spread > 0 else 0.0
    ends = bias + ndtri([0.025, 0.975])
    levels = ndtr(bias + ends / (1 - acceleration * ends))
    low, high = np.quantile(drawn, levels)
    return float(low), float(high)


def population(case: str, shift: float) -> list[float]:
    """The scores of both networks on very many images."""
    rng = np.random.default_rng(99)
    images = 20_000 if case.startswith("AP") else 200_000
    first, second, _ = CASES[case](rng, images, shift)
    return [float(score(np.ones((1, images)))[0]) for score in (first, second)]


def coverage(case: str, images: int, repetitions: int, samples: int, truth: list[float]) -> dict[str, float]:
    """Shares of repetitions in which the intervals contain the truth, and in which equal networks differ."""
    rng = np.random.default_rng(images)
    boot = draws(images, samples, 0)
    blocks = np.arange(images) % min(images, MOST_BLOCKS)
    without = (blocks != np.arange(blocks.max() + 1)[:, None]).astype(float)
    jack = np.concatenate([np.ones((1, images)), without])
    both = np.concatenate([jack, boot])
    hit: dict[str, list[float]] = {name: [] for name in ("percentile", "bca", "ours", "difference", "rare")}
    for _ in range(repetitions):
        first, second, present = CASES[case](rng, images, SHIFT)
        values = first(both)
        score, left, drawn = values[0], values[1 : len(jack)], values[len(jack) :]
        hit["rare"].append(present.sum(0).min())
        if np.isnan(score):
            continue
        drawn = drawn[~np.isnan(drawn)]
        filled = np.where(np.isnan(left), np.nanmean(left), left)
        bounds = {
            "percentile": tuple(np.percentile(drawn, [2.5, 97.5])),
            "bca": bca(score, drawn, filled),
            "ours": of_score(score, *error(left)),
        }
        for name, own in bounds.items():
            hit[name].append(own is not None and own[0] <= truth[0] <= own[1])
        other = second(jack)
        apart = other - values[: len(jack)]
        own = of_difference(apart[0], *error(apart[1:]))
        hit["difference"].append(own is not None and own[0] <= truth[1] - truth[0] <= own[1])
    return {name: float(np.mean(values)) for name, values in hit.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--images", type=int, nargs="+", default=[10, 30, 100, 300, 1000])
    parser.add_argument("--cases", nargs="+", default=list(CASES))
    options = parser.parse_args()
    print("| score | images | rarest class in | percentile | BCa | segbench | difference |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for case in options.cases:
        truth = population(case, SHIFT)
        for images in options.images:
            repetitions = options.repetitions if images < 1000 else options.repetitions // 2
            found = coverage(case, images, repetitions, options.draws, truth)
            shares = " | ".join(
                f"{100 * found[k]:.0f} %" for k in ("percentile", "bca", "ours", "difference")
            )
            print(f"| {case} | {images} | {found['rare']:.0f} | {shares} |", flush=True)
        print(f"{case}: {time.process_time():.0f} s of processor time", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
