"""Weights of the background between objects that nearly touch: Ronneberger et al. 2015, U-Net (1505.04597).

For semantic trainings on datasets that also have objects.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, find_objects
from torch import Tensor

from segbench.contract.recipe import BorderWeights
from segbench.contract.view import View
from segbench.data.coco.index import AnnotationIndex
from segbench.data.coco.masks import to_rle
from segbench.data.dataset import ImageRecord, Split
from segbench.data.loading.grid import Grid
from segbench.data.loading.targets import Layers, SemanticReader, stack_objects

REACH = 6
"""Distance, in sigmas, beyond which objects are not seen: exp(-18) of the weight is left there."""


class BorderReader:
    """Reads semantic maps, followed by layers of object numbers, without crowds."""

    def __init__(self, split: Split, view: View) -> None:
        self._semantic = SemanticReader(split, view)
        self._annotations = AnnotationIndex(split.instances_json)

    def __call__(self, record: ImageRecord, grid: Grid) -> Layers:
        (semantic,), numbers = self._semantic(record, grid)
        objects = [one for one in self._annotations[record.id] if not one["iscrowd"]]
        masks = [to_rle(one["segmentation"], *grid.size) for one in objects]
        return np.stack([semantic, *stack_objects(masks, grid)]), numbers


def border_weights(layers: Tensor, options: BorderWeights) -> Tensor:
    """Compute w0 exp(-(d1 + d2)² / (2 sigma²)) of an image (equation 2 without the weights of classes).

    d1 and d2 are the distances of a pixel to the nearest and the second nearest object.

    Args:
        layers: K x H x W layers of object numbers, 0 where there is none.
        options: w0 and sigma.

    Returns:
        H x W float32; 0 on objects, and where there are fewer than two objects within `REACH`.
    """
    numbers = layers.numpy()
    height, width = numbers.shape[1:]
    reach = math.ceil(REACH * options.sigma)
    first, second = np.full((2, height, width), np.inf)
    for layer in numbers:
        for number, box in enumerate(find_objects(layer), 1):
            if box is None:
                continue
            near = tuple(slice(max(0, side.start - reach), side.stop + reach) for side in box)
            distance = distance_transform_edt(layer[near] != number)
            second[near] = np.minimum(second[near], np.maximum(first[near], distance))
            first[near] = np.minimum(first[near], distance)
    weight = options.w0 * np.exp(-((first + second) ** 2) / (2 * options.sigma**2))
    return torch.from_numpy((weight * (first > 0)).astype(np.float32))
