"""False positives and power of the tests of the report, on scores whose truth is known.

    python -m benchmarks.comparison_errors --repetitions 1000

One dataset: networks are equal or differ by d standard deviations (of the difference, from image to image).
The textbook's power is that of Student's paired test (non-central t). With three seeds, the seed moves a
score by 0.01, and the textbook's is the t-test of a mean with both variances.
Over datasets: the same for Wilcoxon's test of two networks, and for Friedman's and Nemenyi's tests of more
networks, of which the first is ahead; the textbook's is the F-test of a block design (non-central F).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from scipy import stats

from segbench.comparison.pairs import ALPHA, pairs
from segbench.comparison.rank_tests import ENOUGH_DATASETS, rank_test

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "comparison"))
from simulated import OWN_SD, simulated_contest, simulated_table

DIFFERENCE_SD = OWN_SD * np.sqrt(2)
SEED_SD = 0.01


def share(hits: list[bool]) -> str:
    """A share with the half-width of its binomial interval of 95 %."""
    rate = np.mean(hits)
    return f"{100 * rate:.1f} ± {196 * np.sqrt(rate * (1 - rate) / len(hits)):.1f} %"


def paired_power(effect: float, count: float, freedom: float) -> float:
    """Power of a two-sided t-test of a mean that is `effect` standard deviations from 0."""
    quantile = stats.t.ppf(1 - ALPHA / 2, freedom)
    shift = effect * np.sqrt(count)
    return float(stats.nct.sf(quantile, freedom, shift) + stats.nct.cdf(-quantile, freedom, shift))


def block_power(means: np.ndarray, spread: float, datasets: int) -> float:
    """Power of the F-test of networks over datasets."""
    networks = len(means)
    degrees = networks - 1, (networks - 1) * (datasets - 1)
    shift = datasets * ((means - means.mean()) ** 2).sum() / spread**2
    return float(stats.ncf.sf(stats.f.ppf(1 - ALPHA, *degrees), *degrees, shift))


def one_dataset(repetitions: int) -> None:
    print("| networks | images | seeds | difference | any pair told apart | textbook |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    rng = np.random.default_rng(0)
    for networks, images, seeds, effect in (
        *((2, images, seeds, 0.0) for images in (6, 10, 30, 100) for seeds in (1, 3)),
        *((networks, 30, 1, 0.0) for networks in (5, 20)),
        *((2, images, 1, effect) for effect in (0.3, 0.8) for images in (10, 30, 100)),
        *((2, 30, 3, effect) for effect in (0.3, 0.8)),
    ):
        means = 0.6 + np.arange(networks)[::-1] * effect * DIFFERENCE_SD
        hits = []
        count = repetitions if networks < 20 else repetitions // 4
        for _ in range(count):
            made = simulated_contest(rng, means, images, seeds, SEED_SD if seeds > 1 else 0)
            hits.append(bool(pairs(made, made.models, "miou", 0.005)["parted"].any()))
        book = f"{100 * ALPHA:.0f} %"
        if effect:
            spread = DIFFERENCE_SD
            if seeds > 1:  # images with what each seed adds, and the seeds
                spread = np.sqrt(2 * (OWN_SD**2 + OWN_SD**2 / 9 / seeds + images * SEED_SD**2 / seeds))
            freedom = images - 1 if seeds == 1 else 2 * (seeds - 1) + images - 1
            book = f"{100 * paired_power(effect * DIFFERENCE_SD / spread, images, freedom):.0f} %"
        print(f"| {networks} | {images} | {seeds} | {effect} | {share(hits)} | {book} |", flush=True)


def over_datasets(repetitions: int) -> None:
    print("\n| networks | datasets | difference | test finds a difference | a pair told apart | textbook |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    rng = np.random.default_rng(1)
    for networks, effect, datasets in (
        (networks, effect, datasets)
        for networks in (2, 3, 5, 20)
        for effect in (0.0, 0.5, 1.5)
        for datasets in (3, 5, 6, 9, 20)
    ):
        spread = 0.03
        means = np.zeros(networks)
        means[0] = effect * spread * np.sqrt(2)
        count = repetitions if networks < 20 else repetitions // 4
        found, apart = [], []
        for _ in range(count):
            test = rank_test(simulated_table(rng, means, datasets, spread))
            found.append(bool(test.p < ALPHA))
            apart.append(bool((test.pairs < ALPHA).any(axis=None)))
        if datasets < ENOUGH_DATASETS:
            assert not any(found)
            print(f"| {networks} | {datasets} | {effect} | not tested | not tested | |", flush=True)
            continue
        book = f"{100 * ALPHA:.0f} %"
        if effect:
            power = (
                paired_power(effect, datasets, datasets - 1)
                if networks == 2
                else block_power(means, spread, datasets)
            )
            book = f"{100 * power:.0f} %"
        row = f"| {networks} | {datasets} | {effect} | {share(found)} | {share(apart)} | {book} |"
        print(row, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=1000)
    options = parser.parse_args()
    one_dataset(options.repetitions)
    over_datasets(options.repetitions)
    print(f"{time.process_time():.0f} s of processor time", file=sys.stderr)


if __name__ == "__main__":
    main()
