"""Centreline Dice (clDice) of thin structures such as vessels (Shit et al., CVPR 2021).

With the masks V and skeletons S of a class in truth (L) and prediction (P),

    precision = |S_P & V_L| / |S_P|      sensitivity = |S_L & V_P| / |S_L|
    clDice    = 2 precision x sensitivity / (precision + sensitivity)

of each image, mean over the images. It asks whether structures are found and connected, whatever their width.
A class that only truth or prediction has counts as 0; an image where neither has it is skipped. Void pixels
are in no mask. The background has no centreline.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segbench.contract.scores import Contract
from segbench.contract.view import BACKGROUND, Category
from segbench.errors import SegbenchError
from segbench.evaluation.averages import harmonic
from segbench.evaluation.statistics import Batch, Statistics
from segbench.evaluation.weighted import averaged
from segbench.importing import install, missing

NEEDS = {"skimage": "classical"}

COLUMNS = (
    "skeleton_truth",
    "skeleton_truth_hit",
    "skeleton_predicted",
    "skeleton_predicted_hit",
)
CONTRACT = Contract(pooling="image", ignored="void", absent="class skipped in that image", match="skeletons")


def thin(classes: Sequence[Category]) -> list[int]:
    """Return the indices of the classes that have a centreline: all but the background."""
    return [k for k, c in enumerate(classes) if c.name != BACKGROUND.name]


def measure(
    truth: np.ndarray, predicted: np.ndarray, classes: int, thin: Sequence[int]
) -> dict[str, np.ndarray]:
    """Count the pixels of the skeletons of one image, K values for each name of `COLUMNS`.

    Args:
        truth, predicted: H x W class indices 0..K-1 as from `confusion.ClassIndex`; K = void or unlabelled.
        classes: the number K of classes.
        thin: indices of the classes to measure; others have zeros.

    Raises:
        SegbenchError: scikit-image is not installed.
    """
    try:
        from skimage.morphology import skeletonize
    except ImportError as error:
        raise SegbenchError(
            f"clDice {missing('skimage', NEEDS['skimage'])}",
            remedy=f"{install(NEEDS['skimage'])}, or remove `cldice` from the families of the evaluation",
        ) from error
    found = {name: np.zeros(classes, np.int64) for name in COLUMNS}
    known = truth != classes
    for k in thin:
        masks = truth == k, (predicted == k) & known
        for name, own, other in zip(COLUMNS[::2], masks, masks[::-1]):
            skeleton = skeletonize(own)
            found[name][k] = np.count_nonzero(skeleton)
            found[f"{name}_hit"][k] = np.count_nonzero(skeleton & other)
    return found


def scores(batch: Batch, ids: Sequence[int]) -> np.ndarray:
    """Return clDice of each image and class, images x K; NaN without the class in truth and prediction.

    `ids` are the K category ids.
    """
    true, true_hit, guess, guess_hit = (batch.numbers(name) for name in COLUMNS)
    # 0 if one of both has no skeleton, or they do not meet
    values = harmonic(guess_hit, guess, true_hit, true)
    return batch.table(values, ids, (true + guess > 0) & (batch.class_ids >= 0))


def of_split(statistics: Statistics) -> np.ndarray:
    """Return clDice of each class over all images; NaN without an image that has the class."""
    return weighted(statistics, np.ones((1, len(statistics.metadata.image_ids))))[0]


def weighted(statistics: Statistics, weights: np.ndarray) -> np.ndarray:
    """Return clDice of each class on B resamples, B x K; NaN without an image that has the class.

    Args:
        statistics: the file of a cell.
        weights: B x images, how often each image is in each resample.
    """
    return averaged(statistics, "semantic", scores, COLUMNS, weights)
