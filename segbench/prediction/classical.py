"""Methods of grey levels, without training: rows that show what training pays."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from segbench.contract.prediction import Instances, Prediction
from segbench.contract.view import Task
from segbench.data.coco.masks import encode
from segbench.data.dataset import Dataset, ImageRecord, Split
from segbench.errors import SegbenchError
from segbench.prediction.controls import Control

log = logging.getLogger(__name__)

NEEDS = {"skimage": "classical"}
SAMPLE = 100
"""Largest number of training images on which the rules are compared."""
SIGMA = 1.0
"""Standard deviation in pixels of the Gaussian that smooths grey levels and distances."""
RULES: dict[str, Callable[[np.ndarray], bool]] = {
    "the bright part": lambda bright: True,
    "the dark part": lambda bright: False,
    "the smaller part": lambda bright: bright.mean() < 0.5,
    "the larger part": lambda bright: bright.mean() >= 0.5,
}
"""Which part of an image is the foreground: whether it is the bright part, by the H x W mask of that."""


class Otsu(Control):
    """Part each image in two by its own threshold of grey levels: Otsu, IEEE Trans. SMC 1979.

    The parts get the two most frequent classes of the training images, such as background and vessel. The
    less frequent one is the foreground. Its part is chosen by the one of `RULES` that has the best IoU on up
    to 100 training images, counted on the pixels of the two classes.

    Args:
        dataset, task, seed: see `Control`; the seed changes nothing.

    Raises:
        SegbenchError: the classes overlap, or there is only one.
    """

    def __init__(self, dataset: Dataset, task: Task, seed: int) -> None:
        super().__init__(dataset, task, seed)
        pixels = {one.id: one.pixels or 0.0 for one in dataset.info.statistics.classes}
        if dataset.info.overlapping or len(pixels) < 2:
            raise SegbenchError(
                "a threshold parts an image in two classes, and the classes overlap"
                if dataset.info.overlapping
                else "a threshold parts an image in two classes, and the dataset has one",
                where=dataset.info.name,
                remedy="add the pair to `exclude`",
            )
        self.found = self._foreground(pixels)
        self.rest = _most(pixels, [id_ for id_ in pixels if id_ != self.found])
        self.rule = self._best_rule()
        log.info("%s: the foreground is %s", dataset.info.name, self.rule)

    def _foreground(self, pixels: dict[int, float]) -> int:
        """Return the category of the foreground: the second most frequent one."""
        return _most(pixels, [id_ for id_ in pixels if id_ != _most(pixels, list(pixels))])

    def _best_rule(self) -> str:
        train = self.dataset.split("train")
        common, united = dict.fromkeys(RULES, 0), dict.fromkeys(RULES, 1)
        for record in train.images[:: -(-len(train) // SAMPLE)]:
            bright, labels = bright_part(train, record), train.read_semantic(record.stem)
            truth, counted = labels == self.found, (labels == self.found) | (labels == self.rest)
            for name, rule in RULES.items():
                mask = (bright == rule(bright)) & counted
                common[name] += int((mask & truth).sum())
                united[name] += int((mask | truth).sum())
        return max(RULES, key=lambda name: common[name] / united[name])

    def mask(self, record: ImageRecord) -> np.ndarray:
        """Return the H x W bool mask of the foreground."""
        bright = bright_part(self.split, record)
        return bright == RULES[self.rule](bright)

    def labels(self, mask: np.ndarray) -> np.ndarray:
        """Return the H x W indices of the two classes in the semantic view."""
        index_of = self.semantic_view.index_of
        return np.where(mask, index_of[self.found], index_of[self.rest])

    def predict_image(self, record: ImageRecord) -> Prediction:
        return Prediction(semantic=self.labels(self.mask(record)))


class Watershed(Otsu):
    """Part the foreground of Otsu's threshold into objects, by the watershed of the distance to its border.

    The foreground is the most frequent class of things in the training images; all objects get this class.
    Each object grows from a maximum of the smoothed distance; maxima are at least half of the median object
    size of the training images apart. Objects below the 5% quantile of that size are left out. The score of
    an object is the share of its convex hull that it covers.

    Vincent and Soille, TPAMI 1991.
    """

    def _foreground(self, pixels: dict[int, float]) -> int:
        return _most(pixels, [one.id for one in self.view.classes if one.isthing])

    def predict_image(self, record: ImageRecord) -> Prediction:
        from skimage.measure import regionprops

        objects = self._objects(self.mask(record))
        regions = regionprops(objects)
        label = self.view.index_of[self.found]
        return Prediction(
            semantic=self.labels(objects > 0),
            instances=Instances(
                np.array([float(region.solidity) for region in regions]),
                np.full(len(regions), label),
                [encode(objects == region.label) for region in regions],
            ),
        )

    def _objects(self, mask: np.ndarray) -> np.ndarray:
        """Return the H x W numbers of the objects, from 1; 0 outside of them."""
        from skimage.feature import peak_local_max
        from skimage.segmentation import watershed

        size = self.dataset.info.statistics.object_size
        least, apart = (size.p5**2, max(1, round(size.p50 / 2))) if size else (1.0, 1)
        components = _without_small(ndimage.label(mask)[0], least)
        distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(components > 0), SIGMA)
        peaks = peak_local_max(distance, min_distance=apart, labels=components, exclude_border=False)
        markers = np.zeros(mask.shape, np.int32)
        markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
        return _without_small(watershed(-distance, markers, mask=components > 0), least)


def bright_part(split: Split, record: ImageRecord) -> np.ndarray:
    """Return the H x W bool mask of the pixels above Otsu's threshold of the smoothed grey levels."""
    from skimage.color import rgb2gray
    from skimage.filters import threshold_otsu

    image = split.read_image(record)
    grey = rgb2gray(image) if image.shape[2] == 3 else image.mean(2, dtype=np.float32)
    grey = ndimage.gaussian_filter(grey, SIGMA)
    return grey > threshold_otsu(grey)


def _most(pixels: dict[int, float], among: list[int]) -> int:
    """Return the category with the most pixels, or the smallest of several."""
    return min(among, key=lambda id_: (-pixels[id_], id_))


def _without_small(labels: np.ndarray, least: float) -> np.ndarray:
    """Return labels without those of fewer than `least` pixels."""
    return labels * (np.bincount(labels.ravel()) >= least)[labels]
