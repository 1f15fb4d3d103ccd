from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from segbench.contract.prediction import Instances, Panoptic, Prediction
from segbench.contract.view import Category, View
from segbench.data.coco.masks import decode
from segbench.models.network import Network
from segbench.prediction.tiles import predict_tiles

CLASSES = tuple(
    Category(id=i, name=str(i), isthing=i > 2, color=(i, i, i)) for i in (1, 2, 3, 4)
)  # two of stuff, two of things
VIEW = View("panoptic", CLASSES)
THINGS = (2, 3)


class Oracle(Network):
    """Sees the truth in its input: the class and the number of the segment of each pixel."""

    def __init__(self) -> None:
        super().__init__(VIEW, 2)

    def predict(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[Prediction]:
        return [self._prediction(*image.long()) for image in images]

    def _prediction(self, classes: Tensor, numbers: Tensor) -> Prediction:
        ids = numbers.unique()
        masks = numbers == ids[:, None, None]
        labels = torch.stack([classes[mask][0] for mask in masks])
        scores = 1 / (1 + ids.float())
        segments = (masks * torch.arange(1, len(ids) + 1)[:, None, None]).sum(0)
        things = torch.isin(labels, torch.tensor(THINGS))
        objects = Instances(scores[things], labels[things], masks[things])
        return Prediction(classes, objects, Panoptic(segments, labels, scores))


def truth(canvas: np.ndarray, classes: list[int]) -> Tensor:
    """Return the input of `Oracle`: things of one piece, stuff of any number.

    Args:
        canvas: H x W numbers of segments.
        classes: class of each number.
    """
    labels = np.array(classes)[canvas]
    numbers = labels.copy()  # stuff is one segment
    count = 10
    for number, label in enumerate(classes):
        if label in THINGS:
            parts, n = ndimage.label(canvas == number)
            numbers[parts > 0] = (parts + count)[parts > 0]
            count += n
    return torch.from_numpy(np.stack([labels, numbers])[None].astype(np.float32))


def found(objects: Instances) -> Counter:
    masks: Any = [decode(m) if isinstance(m, dict) else m.numpy() for m in objects.masks]
    rows = zip(objects.labels.tolist(), objects.scores.tolist(), masks, strict=True)
    return Counter((label, round(score, 5), mask.tobytes()) for label, score, mask in rows)


def segments(result: Panoptic) -> Counter:
    rows = enumerate(zip(result.labels.tolist(), result.scores.tolist(), strict=True), 1)
    return Counter((v[0], round(v[1], 5), (result.segments == k).numpy().tobytes()) for k, v in rows)


def check(image: Tensor, window: tuple[int, int], overlap: float) -> None:
    """Tiles that are predicted without an error are joined without an error."""
    size = (image.shape[-2], image.shape[-1])
    (tiled,) = predict_tiles(Oracle(), image, size, window, overlap)
    (whole,) = Oracle().predict(image, [size])
    assert torch.equal(tiled.semantic.long(), whole.semantic)
    assert found(tiled.instances) == found(whole.instances)
    assert segments(tiled.panoptic) == segments(whole.panoptic)


@st.composite
def scenes(draw: Any) -> tuple[Tensor, tuple[int, int], float]:
    """Rectangles and ellipses that hide each other, many of them touching, and tiny ones at corners."""
    height, width = draw(st.integers(8, 48)), draw(st.integers(8, 48))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    y, x = np.mgrid[:height, :width]
    canvas, classes = np.zeros((height, width), int), [0]
    for number in range(1, draw(st.integers(1, 30)) + 1):
        top, left = random.integers(-5, height), random.integers(-5, width)
        high, wide = (
            random.integers(1, [height, width]) if random.random() < 0.2 else random.integers(1, 16, 2)
        )
        if random.random() < 0.5:
            inside = (y >= top) & (y < top + high) & (x >= left) & (x < left + wide)
        else:
            inside = ((y - top) / high) ** 2 + ((x - left) / wide) ** 2 <= 0.5
        canvas[inside] = number
        classes.append(int(random.integers(4)))
    for number, corner in enumerate([(0, 0), (0, -1), (-1, 0), (-1, -1)], len(classes)):
        canvas[corner] = number
        classes.append(3)
    window = draw(st.integers(12, 30)), draw(st.integers(12, 30))
    return truth(canvas, classes), window, draw(st.sampled_from([0.2, 0.4, 0.5]))


@settings(deadline=None, max_examples=12)
@given(scenes())
def test_what_tiles_see_without_error_is_joined_without_error(scene: tuple) -> None:
    check(*scene)


def test_an_object_over_three_tiles_and_its_neighbours_that_touch_it() -> None:
    canvas = np.zeros((16, 64), int)
    canvas[4:8, 2:62], canvas[8:12, 2:62], canvas[3, 10:20] = 1, 2, 3
    check(truth(canvas, [0, 2, 2, 2]), (16, 24), 0.25)


def test_halves_of_an_image_touch_where_a_tile_ends() -> None:
    canvas = np.zeros((20, 40), int)
    canvas[:, :20], canvas[:, 20:] = 1, 2
    check(truth(canvas, [0, 3, 3]), (20, 20), 0.5)


class BoxOracle(Network):
    """Knows the boxes, and sees in its input (rows, columns) which part of the image it gets."""

    def __init__(self, boxes: Tensor, labels: Tensor) -> None:
        super().__init__(VIEW, 2)
        self.boxes, self.labels = boxes, labels

    def predict(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[Prediction]:
        rows, columns = images[0]
        top, left = float(rows.min()), float(columns.min())
        corner = torch.tensor([left, top] * 2)
        low, high = corner[:2], torch.tensor([float(columns.max()) + 1, float(rows.max()) + 1])
        clipped = torch.cat([self.boxes[:, :2].clamp(low, high), self.boxes[:, 2:].clamp(low, high)], 1)
        seen = (clipped[:, 2:] > clipped[:, :2]).all(1)
        scores = (1 / (1 + torch.arange(len(self.boxes))))[seen]
        return [Prediction(instances=Instances(scores, self.labels[seen], None, clipped[seen] - corner))]


def coordinates(height: int, width: int) -> Tensor:
    return torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))[None].float()


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([0.2, 0.5]))
def test_boxes_that_overlap_are_joined_without_error(seed: int, count: int, overlap: float) -> None:
    random = np.random.default_rng(seed)
    corner = random.uniform(0, [90, 60], (count, 2))
    # narrower than the region that two tiles share: boxes that fill it look alike
    side = random.uniform(0.5, 30 * overlap, (count, 2))
    side[random.random(count) < 0.2, 0] *= 4
    boxes = torch.tensor(np.concatenate([corner, np.minimum(corner + side, [100, 70])], 1)).float()
    network = BoxOracle(boxes, torch.tensor(random.choice(THINGS, count)))
    (tiled,) = predict_tiles(network, coordinates(70, 100), (70, 100), (30, 30), overlap)
    (whole,) = network.predict(coordinates(70, 100), [(70, 100)])
    assert tiled.instances.masks is None
    assert tiled.instances.labels.tolist() == whole.instances.labels.tolist()
    assert torch.allclose(tiled.instances.boxes, whole.instances.boxes, atol=1e-4)
    assert torch.equal(tiled.instances.scores, whole.instances.scores)


class Enlarging(Oracle):
    """Predicts at the size that is asked for, as networks do."""

    def predict(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[Prediction]:
        return super().predict(torch.nn.functional.interpolate(images, size=sizes[0]), sizes)


def test_tiles_of_a_resized_image() -> None:
    """The network sees the image at half its size."""
    canvas = np.zeros((40, 60), int)
    canvas[4:30, 6:10], canvas[10:20, 10:58], canvas[36:, 56:] = 1, 2, 3
    image = truth(canvas, [0, 2, 2, 3])
    (tiled,) = predict_tiles(Enlarging(), image[..., ::2, ::2], (40, 60), (12, 12), 0.5)
    (whole,) = Oracle().predict(image, [(40, 60)])
    assert found(tiled.instances) == found(whole.instances)
    assert segments(tiled.panoptic) == segments(whole.panoptic)
    assert torch.equal(tiled.semantic.long(), whole.semantic)


def test_one_tile_is_the_network_itself() -> None:
    image = truth(np.array([[0, 1], [0, 0]]), [0, 2])
    (tiled,) = predict_tiles(Oracle(), image, (2, 2), (8, 8), 0.5)
    assert isinstance(tiled.instances.masks, Tensor)


class Empty(Oracle):
    def predict(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[Prediction]:
        none, size = torch.zeros(0), sizes[0]
        objects = Instances(none, none.long(), torch.zeros(0, *size, dtype=torch.bool))
        return [Prediction(None, objects, Panoptic(torch.zeros(size, dtype=torch.int64), none.long(), none))]


def test_tiles_without_objects() -> None:
    (found,) = predict_tiles(Empty(), torch.zeros(1, 2, 20, 20), (20, 20), (12, 12), 0.5)
    assert found.semantic is None and found.instances.masks == [] and len(found.instances.scores) == 0
    assert not found.panoptic.segments.any() and len(found.panoptic.labels) == 0
