"""Rules `queries` and `detections`: outputs for all objects of an image."""

from __future__ import annotations

import math

from segbench.fitting.situation import Derived, Situation

SPARE = 1.25
"""Number of outputs by that of the objects of the fullest training image."""
MOST_QUERIES = 300
"""Most queries: the time of attention grows with their number."""
MOST_DETECTIONS = 1000
"""Most detections: each has a mask as large as the image."""


def queries(given: Situation) -> list[Derived]:
    """Return `options.queries`: 1.25 times the segments of the fullest training image, a multiple of 10, at
    least `fit.queries` and at most 300."""
    if not given.needs.queries or given.states("options.queries"):
        return []
    segments = given.statistics.objects_per_image.max
    if given.task != "instance":
        segments += sum(not (c.isthing and given.task == "panoptic") for c in given.categories)
    number = min(max(10 * math.ceil(SPARE * segments / 10), given.fit.queries), MOST_QUERIES)
    return [Derived("options.queries", number, "queries", f"up to {segments:g} segments in an image")]


def detections(given: Situation) -> list[Derived]:
    """Return `options.detections_per_image`: 1.25 times the objects of the fullest training image, a
    multiple of 100, at least 100 (which COCO's AP counts) and at most 1000."""
    if not given.needs.detections or given.states("options.detections_per_image"):
        return []
    objects = given.statistics.objects_per_image.max
    number = min(max(100 * math.ceil(SPARE * objects / 100), 100), MOST_DETECTIONS)
    return [
        Derived(
            "options.detections_per_image", number, "detections", f"up to {objects:g} objects in an image"
        )
    ]
