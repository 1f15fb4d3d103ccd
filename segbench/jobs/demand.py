"""What a step asks a scheduler for: generous guesses from the recipe and the data, more with each attempt.

Memory for a job that ran out of it: 1, 1.5, 2, 2.5 times, since a job that fits no node never runs. Time for
one that hit its limit: 1, 2, 3, 4 times. A training goes on from its checkpoint, so that a limit that was too
short costs a start, not the work.
"""

from __future__ import annotations

from segbench.contract.recipe import Recipe

LONGEST = 24 * 60
"""Minutes; partitions rarely allow more."""
START = 30
"""Minutes for what every job does first, on a busy file system."""


def memory(wildcards: object = None, attempt: int = 1) -> int:
    """MB of a process with torch in it; predictions and scores are streamed, so images do not add up."""
    return _megabytes(4000, attempt)


def training_memory(recipe: Recipe, workers: int, attempt: int) -> int:
    """MB of main memory: 6 kB a pixel of a forward pass, which a training without a GPU keeps there."""
    pixels = _megapixels(recipe) * recipe.batch_size / recipe.accumulate
    return _megabytes((4000 + 1000 * workers) * recipe.gpus + 6000 * pixels, attempt)


def training_minutes(recipe: Recipe, threads: int, gpus: int, attempt: int) -> int:
    """At one megapixel a second on a GPU, or 0.02 on a processor core."""
    pixels = _megapixels(recipe) * recipe.batch_size * recipe.iterations
    return _minutes(pixels / (gpus or 0.02 * threads), attempt)


def prediction_minutes(images: int, gpus: int, attempt: int) -> int:
    return _minutes(images * (0.2 if gpus else 4), attempt)


def evaluation_minutes(images: int, attempt: int) -> int:
    return _minutes(images * 0.2, attempt)


def conversion_minutes(wildcards: object, attempt: int) -> int:
    return _minutes(3600, attempt)


def _megapixels(recipe: Recipe) -> float:
    height, width = recipe.augment.crop or (1000, 1000)
    return height * width / 1e6


def _megabytes(first: float, attempt: int) -> int:
    return round(first * (attempt + 1) / 2)


def _minutes(seconds: float, attempt: int) -> int:
    return min(LONGEST, round(START + seconds / 60) * attempt)
