"""Prediction of whole images: normalise, resize, predict in one pass or in parts, at the original size."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from segbench.contract.prediction import Prediction
from segbench.contract.recipe import Inference
from segbench.data.loading.transforms import plain_transform
from segbench.errors import SegbenchError
from segbench.models.network import SemanticNetwork
from segbench.models.saved import Model
from segbench.prediction.semantic import semantic_maps
from segbench.prediction.tiles import predict_tiles
from segbench.prediction.windows import input_size
from segbench.training.precision import Precision


class Predictor:
    """Predict images with a trained network.

    Args:
        model: the trained network.
        inference: how images are resized, windows, scales and flips.
        precision: device and number format.

    Raises:
        SegbenchError: `inference` has a key that the network does not support.
    """

    def __init__(self, model: Model, inference: Inference, precision: Precision) -> None:
        for key, what, remedy in inference.faults(semantic=isinstance(model.network, SemanticNetwork)):
            raise SegbenchError(
                f"{type(model.network).__name__} {what}", where=f"recipe.inference.{key}", remedy=remedy
            )
        self.view = model.view
        self._network = precision.place_network(model.network)
        self._inference, self._precision = inference, precision
        self._normalise = plain_transform(model.mean, model.std)
        self.prepared: Callable[[], None] = lambda: None
        """Called when images are normalised and resized, and before the network computes."""

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> list[Prediction]:
        """Predict images of one size.

        Args:
            images: B x C x H x W, uint8 or float in 0..1.

        Returns:
            One prediction per image, at H x W.
        """
        size = (images.shape[-2], images.shape[-1])
        normalised, network, how = self._normalise(images), self._network, self._inference
        with self._precision.autocast():
            if isinstance(network, SemanticNetwork) and (how.window or how.flip or how.scales != [1.0]):
                self.prepared()  # views and windows are resized one by one
                maps = semantic_maps(network, normalised, how, self._precision.place)
                return [Prediction(semantic=labels) for labels in maps]
            fed = self._precision.place(F.resize_image(normalised, list(input_size(size, how))))
            self.prepared()
            if how.window:
                return predict_tiles(network, fed, size, how.window, how.overlap)
            return network.predict(fed, [size] * len(images))
