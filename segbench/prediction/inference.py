"""Prediction of whole images: normalise, resize, slide a window, and return results at the original size."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from segbench.contract.prediction import Prediction
from segbench.contract.recipe import Inference
from segbench.data.loading.transforms import plain_transform
from segbench.errors import SegbenchError
from segbench.models.network import SemanticNetwork
from segbench.models.saved import Model
from segbench.training.precision import Precision


class Predictor:
    """Predict images with a trained network.

    Args:
        model: the trained network.
        inference: how images are resized, and the sliding window.
        precision: device and number format.

    Raises:
        SegbenchError: `inference` has a window, but the network is not semantic.
    """

    def __init__(self, model: Model, inference: Inference, precision: Precision) -> None:
        if inference.window and not isinstance(model.network, SemanticNetwork):
            raise SegbenchError(
                f"{type(model.network).__name__} has no map of logits to average over windows",
                where="recipe.inference.window",
                remedy="set window: null for this network",
            )
        self.view = model.view
        self._network = precision.place_network(model.network)
        self._inference, self._precision = inference, precision
        self._normalise = plain_transform(model.mean, model.std)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> list[Prediction]:
        """Predict images of one size.

        Args:
            images: B x C x H x W, uint8 or float in 0..1.

        Returns:
            One prediction per image, at H x W.
        """
        size = (images.shape[-2], images.shape[-1])
        fed = F.resize_image(self._normalise(images), list(input_size(size, self._inference)))
        with self._precision.autocast():
            if self._inference.window:
                return self._slide(self._precision.place(fed), size, self._inference.window)
            return self._network.predict(self._precision.place(fed), [size] * len(images))

    def _slide(self, images: Tensor, size: tuple[int, int], window: tuple[int, int]) -> list[Prediction]:
        network = self._network
        assert isinstance(network, SemanticNetwork)  # the constructor refuses windows for others
        *_, height, width = images.shape
        total = torch.zeros(len(images), network.outputs, height, width, device=images.device)
        count = torch.zeros(height, width, device=images.device)
        for rows in window_spans(height, window[0], self._inference.overlap):
            for columns in window_spans(width, window[1], self._inference.overlap):
                total[..., rows, columns] += network(images[..., rows, columns])
                count[rows, columns] += 1
        return [Prediction(semantic=network.labels_at(logits, size)) for logits in total.div_(count)]


def input_size(size: tuple[int, int], inference: Inference) -> tuple[int, int]:
    """Return the (height, width) to which an image is resized; `max_side` overrides the others."""
    scale = inference.short_side / min(size) if inference.short_side else inference.scale
    if inference.max_side:
        scale = min(scale, inference.max_side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def window_spans(length: int, window: int, overlap: float) -> list[slice]:
    """Divide one axis into windows; the last one ends with the image and may overlap more.

    Args:
        length: length of the axis.
        window: length of a window; the whole axis if this is shorter.
        overlap: share of a window that the next one overlaps, 0 to 1.
    """
    window = min(window, length)
    stride = max(1, round(window * (1 - overlap)))
    return [slice(start, start + window) for start in [*range(0, length - window, stride), length - window]]
