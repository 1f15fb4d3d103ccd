"""Objects and segments of one image, true or predicted: the types that scores are computed from.

A network returns a `contract.prediction.Prediction`, with indices of classes; the predict step writes it to
files, with category ids. Scoring begins with these files, whoever wrote them:

- class map: an H x W array of category ids, which `semantic.maps.read_labels` reads;
- `Objects`: from `instance.files.InstanceFile`, or converted;
- `SegmentMap`: from `panoptic.files.PanopticFiles`, or converted. Panoptic quality takes COCO annotations in
  place of the map, since hotcoco decodes PNG files faster than we do: `PanopticFiles.annotations` and
  `SegmentMap.annotations` give them.

`prediction_folder.PredictionFolder` reads all of them for one cell. The truth has the same types.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from segbench.data.coco.masks import objects_of_map


@dataclass
class Objects:
    """N objects of one image, true or predicted."""

    class_ids: np.ndarray
    """N category ids."""
    masks: list[dict[str, Any]]
    """N COCO RLEs of the image's size; empty where only boxes are scored."""
    boxes: np.ndarray
    """N x 4 floats: x, y, width, height in pixels."""
    areas: np.ndarray
    """N areas in pixels, which decide COCO's area range. They may differ from the masks' areas."""
    scores: np.ndarray
    """N floats, higher is more confident; 1 for the truth."""
    crowd: np.ndarray
    """N bool; False for predictions."""

    def take(self, indices: np.ndarray) -> Objects:
        """Return the objects at `indices`, in that order."""
        masks = [self.masks[i] for i in indices] if self.masks else []
        arrays = (self.boxes, self.areas, self.scores, self.crowd)
        return Objects(self.class_ids[indices], masks, *(a[indices] for a in arrays))


@dataclass
class SegmentMap:
    """S segments of one image that do not overlap, true or predicted."""

    index: np.ndarray
    """H x W int: 0 = no segment, else k + 1 for the k-th of the S segments."""
    class_ids: np.ndarray
    """S category ids."""
    scores: np.ndarray
    """S floats, higher is more confident."""

    def masks(self) -> dict[int, dict[str, Any]]:
        """Return category, mask, box and area of each segment that has pixels, as in a COCO annotation.

        The keys are positions in `class_ids`.
        """
        areas = np.bincount(self.index.ravel(), minlength=len(self.class_ids) + 1)[1:]
        present = np.flatnonzero(areas).tolist()
        found = objects_of_map(self.index, {k + 1: int(self.class_ids[k]) for k in present})
        return dict(zip(present, found))

    def annotations(self, image_id: int) -> list[dict[str, Any]]:
        """Return one COCO annotation for each segment that has pixels, for `panoptic.quality.add_image`."""
        return [mask | {"id": k + 1, "image_id": image_id} for k, mask in self.masks().items()]
