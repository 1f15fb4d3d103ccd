"""What decides the cost of a cell: its network, its recipe, and the size of the images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from segbench.contract.cell import CellSpec
from segbench.contract.channels import Channels
from segbench.contract.recipe import Augment, Inference, Recipe
from segbench.contract.view import Task

Pixels = tuple[int, int]
"""Height and width."""
ASSUMED_IMAGE: Pixels = (1000, 1000)
"""Size of the images of a dataset that is not converted yet."""
ASSUMED_CLASSES = 21
"""Number of its classes."""
ASSUMED_OBJECTS = 8
"""Number of objects in one of its images."""


class Scene(NamedTuple):
    """The images of a dataset, as far as they decide a cost."""

    image: Pixels
    """Size of the median image."""
    classes: int
    """Number of categories, without the background."""
    things: int
    """Number of those that are things."""
    objects: int
    """Number of objects in an image with many of them (95 % quantile)."""
    object_size: int
    """Side of an object in pixels."""
    counted: Mapping[str, int]
    """Number of images in each split; empty if it is not known."""
    evaluated: str
    """Name of the split that is scored."""
    converted: bool
    """Whether all this is known. Else it is assumed."""

    @classmethod
    def assumed(cls, images: Mapping[str, int], image: Pixels = ASSUMED_IMAGE) -> Scene:
        """Build for a dataset that is not converted yet.

        Args:
            images: number of images by split, as far as its entry states it.
            image: their size.
        """
        side = max(2, max(image) // 10)
        evaluated = "test" if "test" in images or not images else "val"
        return cls(image, ASSUMED_CLASSES - 1, 10, ASSUMED_OBJECTS, side, images, evaluated, False)

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Scene:
        """Build from the content of a dataset.json.

        Raises:
            KeyError, TypeError: an earlier version has converted the dataset.
        """
        found = info["statistics"]
        short, long = found["short_side"]["p50"], found["long_side"]["p50"]
        wide = found["aspect"]["p50"] >= 1
        image = (round(short), round(long)) if wide else (round(long), round(short))
        categories = info["categories"]
        return cls(
            image,
            len(categories),
            sum(category["isthing"] for category in categories),
            max(1, round(found["objects_per_image"]["p95"])),
            max(2, round((found["object_size"] or {"p50": short / 10})["p50"])),
            info["splits"],
            info["evaluation_split"],
            True,
        )


class Network(BaseModel):
    """What decides the operations of one image, apart from its size."""

    model_config = ConfigDict(frozen=True)

    class_path: str
    """`package.module:Class`."""
    options: dict[str, Any]
    """Arguments of its constructor."""
    task: Task

    @property
    def key(self) -> str:
        """Name of the network in caches."""
        return digest(self.model_dump(mode="json"))


class Work(BaseModel):
    """What decides the seconds and the memory of a step of a cell, on a given device."""

    model_config = ConfigDict(frozen=True)

    network: Network
    channels: Channels
    """Channels of the images."""
    recipe: dict[str, Any]
    """Keys of the recipe that decide the cost."""
    size: Pixels
    """Height and width of a training image after all changes."""
    classes: int
    """Number of categories, without the background."""
    things: int
    """Number of those that are things."""
    image: Pixels
    """Size of a stored image."""
    objects: int
    """Number of objects in an image."""
    object_size: int
    """Side of an object in a stored image, in pixels."""

    @property
    def batch(self) -> int:
        """Images of a step on one device."""
        return -(-int(self.recipe["batch_size"]) // self.devices)

    @property
    def devices(self) -> int:
        """Processes that share a step."""
        return int(self.recipe["gpus"])

    @property
    def accumulate(self) -> int:
        """Forward passes of a step on one device."""
        return int(self.recipe["accumulate"])

    @property
    def part(self) -> int:
        """Images of a forward pass."""
        return -(-self.batch // self.accumulate)

    @property
    def pixels(self) -> int:
        """Pixels of a training image."""
        return self.size[0] * self.size[1]

    @property
    def load(self) -> tuple[int, int, int]:
        """What is larger for a cell that needs more: pixels of a forward pass and of a step, and classes."""
        return self.part * self.pixels, self.batch * self.pixels, self.classes

    @property
    def key(self) -> str:
        """Name of the work in file names."""
        return digest(self.model_dump(mode="json"))


COST_KEYS = {"batch_size", "accumulate", "gpus", "ema", "border_weights", "precision", "augment", "inference"}
"""Keys of a recipe that decide the cost of a step, with the name of the optimizer."""


def work_of(spec: CellSpec, scene: Scene, channels: Channels) -> Work:
    """Return the work of a cell.

    Args:
        spec: the cell, fitted to its dataset if that is converted.
        scene: images of the dataset.
        channels: number of their channels.
    """
    recipe = spec.recipe.model_dump(mode="json", include=COST_KEYS)
    return Work(
        network=Network(class_path=spec.class_path, options=dict(spec.options), task=spec.task),
        channels=channels,
        recipe={**recipe, "optimizer": spec.recipe.optimizer.name},
        size=training_size(spec.recipe, scene.image),
        classes=scene.classes,
        things=scene.things,
        image=scene.image,
        objects=scene.objects,
        object_size=scene.object_size,
    )


def training_size(recipe: Recipe, image: Pixels) -> Pixels:
    """Return the height and width of the images that a network sees in training.

    Args:
        recipe: recipe of the training. With `fit` and no crop, it is not fitted yet: a square of `fit.side`.
        image: size of the stored images.
    """
    augment: Augment = recipe.augment
    if augment.crop_size:
        return augment.crop_size
    if recipe.fit is not None:
        return recipe.fit.side, recipe.fit.side
    if augment.resize:
        return augment.resize
    if augment.short_sides:
        return _resized(image, median(augment.short_sides) / min(image), augment.max_side)
    if augment.ratio_range:
        base = augment.ratio_range.base
        fits = min(max(base) / max(image), min(base) / min(image))
        return _resized(image, fits * fmean(augment.ratio_range.range))
    return _resized(image, fmean(augment.scale))


def prediction_sizes(inference: Inference, image: Pixels) -> list[Pixels]:
    """Return the sizes of all inputs of the network while it predicts an image.

    Args:
        inference: how images are fed to the network.
        image: size of the stored image.
    """
    factor = inference.short_side / min(image) if inference.short_side else inference.scale
    found = []
    for scale in inference.scales:
        height, width = _resized(image, factor * scale, inference.max_side)
        if inference.window is None:
            found.append((height, width))
            continue
        across = [_windows(a, b, inference.overlap) for a, b in zip((height, width), inference.window)]
        fed = (min(height, inference.window[0]), min(width, inference.window[1]))
        found += [fed] * (across[0] * across[1])
    return found * (1 + inference.flip)


def _windows(length: int, window: int, overlap: float) -> int:
    if length <= window:
        return 1
    step = max(1, round(window * (1 - overlap)))
    return -(-(length - window) // step) + 1


def _resized(image: Pixels, factor: float, longest: int | None = None) -> Pixels:
    if longest:
        factor = min(factor, longest / max(image))
    return max(1, round(image[0] * factor)), max(1, round(image[1] * factor))


def scene_of(dataset_json: Path, assumed: Scene) -> Scene:
    """Return the scene of a dataset: of its dataset.json if it is there, else `assumed`."""
    try:
        return Scene.of(json.loads(dataset_json.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):  # not converted, or by an earlier version
        return assumed


def digest(value: Any) -> str:
    """Return 16 hexadecimal digits for a value of JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
