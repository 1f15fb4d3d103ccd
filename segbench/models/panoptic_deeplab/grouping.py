"""Group pixels to segments by class probabilities, centres and offsets (paper, sections 3.2 and 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from segbench.contract.prediction import Panoptic
from segbench.copying import upload
from segbench.models.layers.mask_prediction import histogram
from segbench.models.layers.selection import indices

PAIRS = 2**24
"""Maximum number of distances between pixels and centres held in memory at once."""


def find_centres(heatmap: Tensor, threshold: float, kernel: int, top_k: int) -> tuple[Tensor, Tensor]:
    """Find the centres of objects: maxima of the heatmap above a threshold.

    Of equal neighbours, which bilinear upsampling makes at the border, the first is the centre.

    Args:
        heatmap: H x W.
        threshold: minimum value of a centre.
        kernel: side of the square around a centre of which it is the maximum, in pixels.
        top_k: maximum number of centres.

    Returns:
        K x 2 (y, x) int64, and K scores in descending order.
    """
    _, best = F.max_pool2d(heatmap[None, None], kernel, 1, kernel // 2, return_indices=True)
    own = torch.arange(heatmap.numel(), device=heatmap.device).view(heatmap.shape)
    peaks = torch.where((best[0, 0] == own) & (heatmap > threshold), heatmap, -torch.inf).flatten()
    scores, index = peaks.topk(min(top_k, len(peaks)))
    (keep,) = indices([scores > threshold])
    scores, index = scores[keep], index[keep]
    return torch.stack([index // heatmap.shape[1], index % heatmap.shape[1]], 1), scores


def nearest_centre(centres: Tensor, offsets: Tensor, pixels: Tensor) -> Tensor:
    """Find the centre that is nearest to the position that each pixel points to.

    Args:
        centres: K x 2, (y, x).
        offsets: 2 x H x W, (y, x) in pixels.
        pixels: P indices of pixels of things in the flattened map.

    Returns:
        P int64 indices of centres.
    """
    width = offsets.shape[2]
    pointed = torch.stack([pixels // width, pixels % width], 1) + offsets.flatten(1)[:, pixels].T
    centres = centres.to(pointed.dtype)
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cat(
        [
            torch.cdist(part, centres, compute_mode=exact).argmin(1)
            for part in pointed.split(max(1, PAIRS // len(centres)))
        ]
    )


def group(
    probability: Tensor,
    heatmap: Tensor,
    offsets: Tensor,
    things: tuple[int, ...],
    threshold: float,
    kernel: int,
    top_k: int,
    stuff_area: int,
) -> Panoptic:
    """Group the pixels of an image to segments.

    Every pixel of a thing is assigned to the centre that it points to, and the majority class of these pixels
    is the class of the object. Scores are the mean probability of the class within the segment; for objects,
    multiplied with the heatmap at the centre.

    Args:
        probability: classes x H x W, in 0..1.
        heatmap: H x W, 1 at centres of objects.
        offsets: 2 x H x W, (y, x) in pixels from each pixel to the centre of its object.
        things: class indices of things.
        threshold: see `find_centres`.
        kernel: see `find_centres`.
        top_k: see `find_centres`.
        stuff_area: minimum area of a stuff segment in pixels; smaller ones are dropped.
    """
    classes, semantic = len(probability), probability.argmax(0)
    is_thing = torch.isin(semantic, upload(things, semantic.device))
    centres, heights = find_centres(heatmap, threshold, kernel, top_k)
    count = len(centres)
    # candidates below `count` are objects, count + c is stuff of class c, and the last one is no segment
    candidate = torch.where(is_thing, count + classes, count + semantic).flatten()
    votes = semantic.new_zeros(count, classes)
    if count:
        (pixels,) = indices([is_thing.flatten()])
        owner = nearest_centre(centres, offsets, pixels)
        candidate[pixels] = owner
        votes = histogram(owner * classes + semantic.flatten()[pixels], count * classes).view(count, classes)
    labels = torch.cat([votes.argmax(1), torch.arange(classes, device=semantic.device)])
    least = torch.ones_like(labels)
    least[count:] = max(1, stuff_area)

    bins = count + classes + 1
    area = histogram(candidate, bins)[:-1]
    sure = probability.flatten(1).gather(0, F.pad(labels, (0, 1))[candidate][None])
    scores = histogram(candidate, bins, sure)[:-1] / area.clamp(min=1)
    scores[:count] *= heights
    keep = area >= least
    number = F.pad(keep.cumsum(0) * keep, (0, 1))
    (kept,) = indices([keep])
    return Panoptic(number[candidate].view(semantic.shape), labels[kept], scores[kept])
