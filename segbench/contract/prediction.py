"""The truth that a network trains on, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

IGNORE = -100
"""Index of void pixels in semantic targets (the default `ignore_index` of torch's cross-entropy)."""


Target = dict[str, Any]
"""Ground truth of one training image, at the size of its image tensor:

semantic view: `semantic` H x W int64, indices into `View.classes`, `IGNORE` = void.
instance view: `labels` N int64, `masks` N x H x W bool, `boxes` N x 4 float32 (x0, y0, x1, y1 in pixels),
    without crowds and empty objects.
panoptic view: `labels`, `masks` as above, one entry per segment: each object, and each stuff class once.
Every view has `image_id` int. `valid` H x W bool is False on padding and void.
"""


Array = TypeVar("Array")
"""`torch.Tensor` as networks predict, `np.ndarray` as predictions are written."""


@dataclass
class Instances(Generic[Array]):
    """Objects of one image: `scores` N, `labels` N (indices into `View.classes`).

    `masks` N x H x W bool, or a list of N COCO RLEs; None if there are only boxes (then in every image).
    `boxes` N x 4 (x0, y0, x1, y1), or None for the masks' own bounds.
    """

    scores: Array
    labels: Array
    masks: Array | None
    boxes: Array | None = None


@dataclass
class Panoptic(Generic[Array]):
    """`segments` H x W int, 0 = nothing, else k + 1 for the k-th entry of `labels` and `scores`."""

    segments: Array
    labels: Array
    scores: Array


@dataclass
class Prediction(Generic[Array]):
    """Prediction of one image, at the requested size; parts that are not predicted are None.

    `semantic` is H x W int, indices into the classes of the view that the network was trained on.
    """

    semantic: Array | None = None
    instances: Instances[Array] | None = None
    panoptic: Panoptic[Array] | None = None
