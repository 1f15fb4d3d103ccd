"""Simple copy-paste: objects of another training image cover a training image and its truth.

Ghiasi et al., Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation, CVPR 2021.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import Dataset

from segbench.contract.prediction import Target
from segbench.contract.recipe import CopyPaste
from segbench.contract.view import View
from segbench.data.loading.loader import Images, Item
from segbench.data.loading.targets import mask_bounds


class PastedObjects(Dataset[Item]):
    """A dataset with objects of other images, which are drawn at random, pasted into its images.

    Both images were changed at random before. All numbers come from torch's global generator, after those of
    the image itself.

    Args:
        images: the images, with instance or panoptic truth.
        view: view of their truth.
        settings: settings of the recipe.
    """

    def __init__(self, images: Images, view: View, settings: CopyPaste) -> None:
        self.images, self.settings = images, settings
        self._things = things(view)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Item:
        item = self.images[index]
        if float(torch.rand(())) >= self.settings.probability:
            return item
        other = self.images[int(torch.randint(len(self.images), ()))]
        return pasted(item, other, drawn_objects(other[1], self._things, self.settings.max_objects))


def things(view: View) -> frozenset[int]:
    """Return the class indices of objects that are pasted: all of an instance view, else the things."""
    return frozenset(range(len(view.classes)) if view.task == "instance" else view.thing_indices)


def drawn_objects(target: Target, things: frozenset[int], limit: int | None) -> list[int]:
    """Draw objects to paste: their number is uniform from 1 to the limit, or to all that there are.

    Args:
        target: truth of the image that they are cut from.
        things: class indices of objects.
        limit: largest number; None: all objects are taken.

    Returns:
        Places of the objects in the target, ascending.
    """
    found = [place for place, label in enumerate(target["labels"].tolist()) if label in things]
    if limit is None or not found:
        return found
    count = 1 + int(torch.randint(min(limit, len(found)), ()))
    return sorted(found[k] for k in torch.randperm(len(found))[:count].tolist())


def pasted(item: Item, other: Item, objects: Sequence[int]) -> Item:
    """Paste objects of one image over another, at the place that they have in theirs.

    What lies below is hidden: masks lose the pixels, and objects without a remaining pixel are removed. The
    image keeps its size; what reaches out of it is cut off.

    Args:
        item: image and truth to paste into.
        other: image and truth to cut from.
        objects: places of the objects in the truth to cut from.
    """
    (image, target), (source, truth) = item, other
    masks = _fitted(truth["masks"][list(objects)], image)
    shown = masks.flatten(1).any(1)
    masks, labels = masks[shown], truth["labels"][list(objects)][shown]
    if not len(masks):
        return item
    cover = masks.any(0)
    below = target["masks"] & ~cover
    left = below.flatten(1).any(1)
    changed: Target = {
        **target,
        "valid": target["valid"] | cover,
        "labels": torch.cat([target["labels"][left], labels]),
        "masks": torch.cat([below[left], masks]),
    }
    if "boxes" in target:
        changed["boxes"] = mask_bounds(changed["masks"])
    return torch.where(cover, _fitted(source, image), image), changed


def _fitted(values: Tensor, image: Tensor) -> Tensor:
    """Cut or pad with 0, at the bottom and the right, to the size of an image."""
    height, width = image.shape[-2:]
    return pad(values, (0, width - values.shape[-1], 0, height - values.shape[-2]))
