"""Semantic maps of whole images: windows that slide, and averages over scales and flips.

Logits are made, resized and turned into labels in strips of rows from top to bottom, so that memory does not
grow with the number of classes times the size of the image. With windows, each scale and flip holds outputs x
height of the window x width of the image float32 logits at a time: 3.1 GB for 150 classes, windows of 512
rows and an image that is 10,000 pixels wide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as resizing

from segbench.contract.recipe import Inference
from segbench.copying import upload
from segbench.models.layers.mask_prediction import taps
from segbench.models.network import SemanticNetwork
from segbench.prediction.windows import input_size, window_spans, window_weights

STRIP = 2**24
"""Maximum number of logits at the size of the image that are held at once, for each scale and flip."""


def semantic_maps(
    network: SemanticNetwork, images: Tensor, inference: Inference, place: Callable[[Tensor], Tensor]
) -> list[Tensor]:
    """Predict the labels of images with windows, or over several scales and flips.

    The probabilities of scales and flips are averaged at the size of the image, as in mmsegmentation
    (`SegTTAModel`); the logits of windows are averaged before.

    Args:
        network: the network.
        images: B x C x H x W, normalised.
        inference: scales, flip and windows.
        place: moves images to the device of the network.

    Returns:
        B maps of H x W labels.
    """
    size = (images.shape[-2], images.shape[-1])
    rows = max(1, STRIP // (len(images) * network.outputs * size[1]))
    views = []
    for scale in inference.scales:
        fed = place(resizing.resize_image(images, list(input_size(size, inference, scale))))
        for flip in (False, True) if inference.flip else (False,):
            strips = sliding_logits(network, fed, inference, flip=flip)
            views.append(resized_strips(strips, (fed.shape[-2], fed.shape[-1]), size, rows))
    labels: list[list[Tensor]] = [[] for _ in images]
    for strip in zip(*views, strict=True):
        for own, scores in zip(labels, strip[0] if len(strip) == 1 else _mean_scores(network, strip)):
            own.append(network.labels_at(scores, (scores.shape[-2], scores.shape[-1])))
    return [torch.cat(own) for own in labels]


def _mean_scores(network: SemanticNetwork, logits: tuple[Tensor, ...]) -> Tensor:
    """Average probabilities. Those of a sigmoid are shifted, so that classes are present above 0."""
    function: Callable[[Tensor], Tensor]
    if network.activation == "softmax":
        function = partial(torch.softmax, dim=1)
    else:
        function = torch.sigmoid
    total = function(logits[0].float())
    for one in logits[1:]:
        total += function(one.float())
    total /= len(logits)
    return total if network.activation == "softmax" else total - 0.5


def sliding_logits(
    network: SemanticNetwork, images: Tensor, inference: Inference, *, flip: bool
) -> Iterator[Tensor]:
    """Yield the mean logits of all windows, B x outputs x rows x W, from top to bottom.

    Args:
        network: the network.
        images: B x C x H x W.
        inference: size, overlap and weights of the windows; without a window, there is one strip.
        flip: whether the network sees each window flipped from left to right.
    """

    def seen(part: Tensor) -> Tensor:
        return network(part.flip(-1)).flip(-1) if flip else network(part)

    if inference.window is None:
        yield seen(images)
        return
    *_, height, width = images.shape
    rows = window_spans(height, inference.window[0], inference.overlap)
    columns = window_spans(width, inference.window[1], inference.overlap)
    high, wide = rows[0].stop, columns[0].stop
    weights = window_weights(high, wide, inference.blend, images.device)
    total = torch.zeros(len(images), network.outputs, high, width, device=images.device)
    count = torch.zeros(high, width, device=images.device)
    chunk = max(1, STRIP // (len(images) * network.outputs * width))
    for span, end in zip(rows, [*(after.start for after in rows[1:]), height]):
        for column in columns:
            total[..., column] += seen(images[..., span, column]) * weights
            count[:, column] += weights
        done = end - span.start  # no later window reaches the rows above
        for start in range(0, done, chunk):
            part = slice(start, min(start + chunk, done))
            yield total[..., part, :] / count[part]
        for plane in (*total.flatten(0, 1), count):  # one by one: a copy of all would double the memory
            plane[: high - done] = plane[done:].clone()
            plane[high - done :] = 0


def resized_strips(
    strips: Iterator[Tensor], fed: tuple[int, int], size: tuple[int, int], rows: int
) -> Iterator[Tensor]:
    """Resize strips bilinearly from `fed` to `size`, and yield them in strips of `rows` rows.

    Args:
        strips: B x outputs x any number of rows x width, `fed` in all.
        fed, size: height and width before and after.
        rows: rows of each strip that is yielded, but for the last.
    """
    have, first = next(strips), 0
    rows_of = taps(size[0], fed[0], fed[0], 1, torch.device("cpu"))  # the host must know what it waits for
    top, bottom, down = (upload(part, have.device) for part in rows_of)
    left, right, across = taps(size[1], fed[1], fed[1], 1, have.device)
    for start in range(0, size[0], rows):
        part = slice(start, start + rows)
        lowest, highest = int(rows_of[0][part][0]), int(rows_of[1][part][-1])
        while first + have.shape[-2] <= highest:
            have = torch.cat([have, next(strips)], 2)
        have, first = have[..., lowest - first :, :], lowest
        if fed == size:
            yield have[..., : len(top[part]), :]
            continue
        strip = torch.lerp(
            have[..., top[part] - first, :].float(),
            have[..., bottom[part] - first, :].float(),
            down[part, None],
        )
        yield torch.lerp(strip[..., left], strip[..., right], across)
