"""Memory and time that a step requests from a scheduler: generous estimates that grow with each attempt.

Attempts 1 to 4 request 1, 1.5, 2 and 2.5 times the memory (a job that fits no node would never run), and 1,
2, 3 and 4 times the time. A training continues from its checkpoint, so a limit that was too short costs a
start, not the work.
"""

from __future__ import annotations

from segbench.contract.recipe import Recipe

MAX_MINUTES = 24 * 60
"""Longest time that is requested; partitions rarely allow more."""
START_MINUTES = 30
"""Time that every job needs to start on a busy file system."""


def memory(wildcards: object = None, attempt: int = 1) -> int:
    """Return the memory in MB of a step that predicts or scores; both stream images."""
    return _megabytes(4000, attempt)


def conversion_memory(threads: int, attempt: int = 1) -> int:
    """Return the memory in MB of a conversion: each process has a few images in memory."""
    return _megabytes(3000 + 1000 * threads, attempt)


def training_memory(recipe: Recipe, workers: int, attempt: int) -> int:
    """Return the main memory in MB of a training: 6 kB per pixel of a forward pass, for one without a GPU.

    Args:
        recipe: recipe of the training.
        workers: number of loader processes per device.
        attempt: number of the attempt, from 1.
    """
    pixels = _megapixels(recipe) * recipe.batch_size / recipe.accumulate
    return _megabytes((4000 + 1000 * workers) * recipe.gpus + 6000 * pixels, attempt)


def training_minutes(recipe: Recipe, threads: int, gpus: int, attempt: int) -> int:
    """Return the minutes of a training, at 1 megapixel per second on a GPU or 0.02 on a processor core.

    Args:
        recipe: recipe of the training.
        threads: number of processor cores.
        gpus: number of GPUs; 0 for a training without.
        attempt: number of the attempt, from 1.
    """
    pixels = _megapixels(recipe) * recipe.batch_size * (recipe.iterations or 0)
    return _minutes(pixels / (gpus or 0.02 * threads), attempt)


def prediction_minutes(images: int, gpus: int, attempt: int) -> int:
    """Return the minutes of a prediction, at 0.2 seconds per image on a GPU or 4 without."""
    return _minutes(images * (0.2 if gpus else 4), attempt)


def evaluation_minutes(images: int, attempt: int) -> int:
    """Return the minutes of an evaluation, at 0.2 seconds per image."""
    return _minutes(images * 0.2, attempt)


def conversion_minutes(wildcards: object, attempt: int) -> int:
    """Return the minutes of a conversion or lint."""
    return _minutes(3600, attempt)


def _megapixels(recipe: Recipe) -> float:
    height, width = recipe.augment.crop_size or (1000, 1000)
    return height * width / 1e6


def _megabytes(first: float, attempt: int) -> int:
    return round(first * (attempt + 1) / 2)


def _minutes(seconds: float, attempt: int) -> int:
    return min(MAX_MINUTES, round(START_MINUTES + seconds / 60) * attempt)
