"""The truth that a network trains on, and its predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

IGNORE = -100
"""Index of void pixels in semantic targets (the default `ignore_index` of torch's cross-entropy)."""


Target = dict[str, Any]
"""Ground truth of one training image, at the size of the image tensor. The keys depend on the view.

semantic: `semantic` H x W int64, indices into `View.classes`, or sums of 2 ** index if the classes overlap;
    `IGNORE` on void; with border weights, `border` H x W float32.
instance: `labels` N int64, `masks` N x H x W bool, `boxes` N x 4 float32 (x0, y0, x1, y1 in pixels), without
    crowds and empty objects.
detection: `labels` and `boxes` as above; `boxes` are clipped to the image, and its corners may be fractions.
panoptic: `labels` and `masks` as above, with one entry per segment: each object, and each stuff class once.
All have `image_id`, an int. All but detection have `valid`, H x W bool, False on padding and void.
"""


Array = TypeVar("Array")
"""`torch.Tensor` in predictions of networks, `np.ndarray` in predictions to be written."""


@dataclass
class Instances(Generic[Array]):
    """Objects of one image."""

    scores: Array
    """N scores, usually in 0..1."""
    labels: Array
    """N indices into `View.classes`."""
    masks: Array | list[dict[str, Any]] | None
    """N x H x W bool, or a list of N COCO RLEs; None if the network predicts only boxes, in every image."""
    boxes: Array | None = None
    """N x 4 (x0, y0, x1, y1) in pixels; None for the bounds of the masks."""


@dataclass
class Panoptic(Generic[Array]):
    """Segments of one image."""

    segments: Array
    """H x W int: k + 1 for the k-th entry (from 0) of `labels` and `scores`; 0 for no segment."""
    labels: Array
    """Indices into `View.classes`."""
    scores: Array
    """Scores, usually in 0..1."""


@dataclass
class Prediction(Generic[Array]):
    """Prediction of one image at the requested size; parts that are not predicted are None."""

    semantic: Array | None = None
    """H x W int, indices into the classes of the view that the network was trained on, or sums of 2 ** index
    if these overlap."""
    instances: Instances[Array] | None = None
    panoptic: Panoptic[Array] | None = None
