"""Which images of a split are trained on."""

from __future__ import annotations

from segbench.contract.view import View
from segbench.data.coco.index import AnnotationIndex
from segbench.data.dataset import Split
from segbench.errors import SegbenchError


def images_with_objects(split: Split, view: View) -> list[int]:
    """Return the indices of the images with objects, without crowds; of all images in other views.

    Args:
        split: the images.
        view: an instance or detection view has objects.

    Raises:
        SegbenchError: no image has objects.
    """
    if view.task not in ("instance", "detection"):
        return list(range(len(split.images)))
    annotations = AnnotationIndex(split.instances_json)
    found = [
        index
        for index, record in enumerate(split.images)
        if not all(one["iscrowd"] for one in annotations[record.id])
    ]
    if not found:
        raise SegbenchError(
            "no image has objects", where=split.instances_json, remedy="set skip_empty: false"
        )
    return found
