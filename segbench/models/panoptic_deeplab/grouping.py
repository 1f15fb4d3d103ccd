"""From class probabilities, centres and offsets to segments (paper, sections 3.2 and 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from segbench.contract.prediction import Panoptic

PAIRS = 2**24
"""Maximum number of distances between pixels and centres held in memory at once."""


def find_centres(heatmap: Tensor, threshold: float, kernel: int, top_k: int) -> tuple[Tensor, Tensor]:
    """H x W heatmap -> K x 2 (y, x) int64 and K scores, the best first.

    A centre is above `threshold` and the greatest of the `kernel` x `kernel` pixels around it; of equal
    neighbours (bilinear enlargement makes them at the border) the first.
    """
    _, best = F.max_pool2d(heatmap[None, None], kernel, 1, kernel // 2, return_indices=True)
    own = torch.arange(heatmap.numel(), device=heatmap.device).view(heatmap.shape)
    peaks = torch.where((best[0, 0] == own) & (heatmap > threshold), heatmap, -torch.inf).flatten()
    scores, index = peaks.topk(min(top_k, len(peaks)))
    scores, index = scores[scores > threshold], index[scores > threshold]
    return torch.stack([index // heatmap.shape[1], index % heatmap.shape[1]], 1), scores


def nearest_centre(centres: Tensor, offsets: Tensor, things: Tensor) -> Tensor:
    """Index of the centre that is nearest to where each pixel points.

    centres K x 2, offsets 2 x H x W, both (y, x); things H x W bool, P pixels of it True -> P int64.
    """
    pixels = things.nonzero()
    pointed = pixels + offsets[:, *pixels.T].T
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
    """classes x H x W probabilities, H x W heatmap, 2 x H x W offsets -> segments.

    Every pixel of a thing goes to the centre that it points to; the majority of an object's pixels give its
    class. Stuff classes of less than `stuff_area` pixels are dropped. Scores are the mean probability of the
    class within the segment, times the height of the heatmap at the centre for objects.
    """
    classes, semantic = len(probability), probability.argmax(0)
    is_thing = torch.isin(semantic, torch.tensor(things, device=semantic.device))
    centres, heights = find_centres(heatmap, threshold, kernel, top_k)
    count = len(centres)
    # of the candidates the first are objects, count + c is the stuff of class c, the last one is nothing
    candidate = torch.where(is_thing, count + classes, count + semantic)
    votes = semantic.new_zeros(count, classes)
    if count:
        owner = nearest_centre(centres, offsets, is_thing)
        candidate[is_thing] = owner
        ballots = owner * classes + semantic[is_thing]
        votes = ballots.bincount(minlength=count * classes).view(count, classes)
    labels = torch.cat([votes.argmax(1), torch.arange(classes, device=semantic.device)])
    least = torch.ones_like(labels)
    least[count:] = max(1, stuff_area)

    flat, bins = candidate.flatten(), count + classes + 1
    area = flat.bincount(minlength=bins)[:-1]
    sure = probability.gather(0, F.pad(labels, (0, 1))[candidate][None])
    scores = flat.bincount(sure.flatten(), minlength=bins)[:-1] / area.clamp(min=1)
    scores[:count] *= heights
    keep = area >= least
    number = F.pad(keep.cumsum(0) * keep, (0, 1))
    return Panoptic(number[candidate], labels[keep], scores[keep])
