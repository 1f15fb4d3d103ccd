"""From a set of (class, mask) pairs to segmentations.

Cheng et al. 2021, MaskFormer, arXiv 2107.06278, section 3.4. Masks are enlarged to the size asked for in
strips of rows, so that memory does not grow with the number of queries times the size of the image.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from segbench.contract.prediction import Instances, Panoptic
from segbench.copying import upload
from segbench.models.layers.selection import indices

STRIP = 2**24
"""Maximum number of mask values at full size held in memory at once."""


def taps(
    size: int, covered: int, cells: int, stride: float, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the lower and the upper cell and the weight of the upper one, for each of `size` pixels.

    The pixels share `covered` input pixels, of which each of the `cells` cells of the mask spans `stride`.
    """
    centre = (torch.arange(size, device=device) + 0.5) * (covered / size)
    place = (centre / stride - 0.5).clamp(0, cells - 1)
    lower = place.long()
    return lower, (lower + 1).clamp(max=cells - 1), place - lower


def enlarged(
    masks: Tensor, covered: tuple[int, int], stride: float, size: tuple[int, int]
) -> Iterator[Tensor]:
    """Enlarge Q x h x w masks bilinearly to Q x H x W, in strips of Q x rows x W.

    The masks' upper left part of `covered` input pixels (`stride` of them a cell) becomes the image of
    H x W = `size`; the rest is padding of the input.
    """
    top, bottom, down = taps(size[0], covered[0], masks.shape[1], stride, masks.device)
    left, right, across = taps(size[1], covered[1], masks.shape[2], stride, masks.device)
    for rows in torch.arange(size[0], device=masks.device).split(
        max(1, STRIP // (max(1, len(masks)) * size[1]))
    ):
        strip = torch.lerp(masks[:, top[rows]], masks[:, bottom[rows]], down[rows, None])
        yield torch.lerp(strip[:, :, left], strip[:, :, right], across)


def semantic_map(classes: Tensor, strips: Iterator[Tensor]) -> Tensor:
    """Compute H x W labels: argmax over classes of the sum over queries of class x mask probability.

    classes: Q x (classes + 1) logits; strips: `enlarged` logits of all queries.
    """
    probability = classes.softmax(-1)[:, :-1]
    return torch.cat([torch.einsum("qc,qhw->chw", probability, s.sigmoid()).argmax(0) for s in strips])


def best_objects(classes: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Choose the `count` best (query, class) pairs; return the query, label and score of each."""
    probability = classes.softmax(-1)[:, :-1]
    scores, best = probability.flatten().topk(min(count, probability.numel()))
    return best // probability.shape[1], best % probability.shape[1], scores


def instances(labels: Tensor, scores: Tensor, strips: Iterator[Tensor]) -> Instances:
    """Make objects from N labels, N scores and the `enlarged` logits of N masks; empty ones are dropped.

    A score is multiplied by the mean probability within the mask.
    """
    masks, total = [], torch.zeros_like(scores)
    for strip in strips:
        masks.append(strip > 0)
        total += (strip.sigmoid() * masks[-1]).sum((1, 2))
    whole = torch.cat(masks, dim=1)
    area = whole.sum((1, 2))
    (keep,) = indices([area > 0])
    return Instances((scores * total / area)[keep], labels[keep], whole[keep])


def panoptic(
    labels: Tensor, scores: Tensor, strips: Iterator[Tensor], things: tuple[int, ...], overlap: float
) -> Panoptic:
    """Make segments from N labels, N scores and the `enlarged` logits of N masks.

    A pixel goes to the mask of highest score x probability, if its probability is at least 1/2. A mask that
    wins less than the share `overlap` of its own pixels is dropped; segments of one stuff class are merged.
    """
    owners, sure, area = [], [], torch.zeros_like(scores)
    if not len(labels):
        return Panoptic(torch.cat([labels.new_zeros(s.shape[1:]) for s in strips]), labels, scores)
    for strip in strips:
        probability = strip.sigmoid()
        inside = probability >= 0.5
        owners.append((scores[:, None, None] * probability).argmax(0))
        sure.append(inside.gather(0, owners[-1][None])[0])
        area += inside.sum((1, 2))
    owner, certain = torch.cat(owners), torch.cat(sure)
    won, visible = histogram(owner, len(labels)), histogram(owner, len(labels), certain.long())
    keep = (visible > 0) & (won >= overlap * area)

    host_labels = torch.where(keep, labels, -1).tolist()  # the only wait for the device
    segment = [0] * len(host_labels)
    stuff: dict[int, int] = {}
    chosen: list[int] = []
    for k, label in enumerate(host_labels):
        if label < 0:
            continue
        if label in stuff:
            segment[k] = stuff[label]
            continue
        chosen.append(k)
        segment[k] = len(chosen)
        if label not in things:
            stuff[label] = len(chosen)
    best = upload(chosen, labels.device, torch.int64)
    return Panoptic(upload(segment, labels.device)[owner] * certain, labels[best], scores[best])


def histogram(values: Tensor, count: int, weights: Tensor | None = None) -> Tensor:
    """Sum the weights (None: 1) of each value in 0..`count` - 1. On a GPU, `bincount` makes the host wait."""
    if values.device.type == "cpu":
        return values.flatten().bincount(None if weights is None else weights.flatten(), count)
    weights = torch.ones_like(values) if weights is None else weights
    return weights.new_zeros(count).scatter_add_(0, values.flatten(), weights.flatten())
