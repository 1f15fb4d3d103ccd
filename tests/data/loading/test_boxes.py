from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors

from segbench.contract.recipe import Augment
from segbench.data.dataset import Dataset
from segbench.data.loading.boxes import BoxReader, box_target, turned, windowed
from segbench.data.loading.loader import SegmentationDataset, collate
from segbench.data.loading.resizing import PadTo
from segbench.data.loading.targets import mask_bounds
from segbench.data.loading.transforms import plain_transform, training_transform
from segbench.errors import SegbenchError
from segbench.files import read_json, write_json

ALL = Augment(
    scale=(0.5, 2.0), crop=(48, 40), horizontal_flip=True, vertical_flip=True, rotate90=True, color_jitter=0.0
)


def wrapped(*corners: list[float], size: tuple[int, int]) -> tv_tensors.BoundingBoxes:
    data = torch.tensor(corners, dtype=torch.float32).reshape(-1, 4)
    return tv_tensors.BoundingBoxes(data, format="XYXY", canvas_size=size)


def target(boxes: tv_tensors.BoundingBoxes) -> tuple[list[int], list[list[float]]]:
    found = box_target(boxes, torch.arange(len(boxes)), 7)
    assert found.keys() == {"image_id", "labels", "boxes"} and found["image_id"] == 7
    return found["labels"].tolist(), found["boxes"].tolist()


def test_a_crop_clips_boxes_and_drops_those_that_are_hardly_visible():
    boxes = wrapped(
        [10, 20, 50, 60],  # cut at two sides
        [70, 30, 90, 40],  # inside
        [0, 0, 30, 30.5],  # a corner of 10 x 0.5 is left
        [95, 30, 195, 40],  # 5 of 100 columns are left
        [0, 0, 400, 400],  # larger than the crop, which shows 1.75 % of it
        [200, 100, 210, 110],  # outside
        size=(400, 400),
    )
    cropped = windowed(boxes, [slice(30, 70), slice(20, 100)], [20, 40])  # 80 x 40 pixels, halved
    assert cropped.canvas_size == (20, 40)
    assert target(cropped) == ([0, 1, 4], [[0, 0, 15, 15], [25, 0, 35, 5], [0, 0, 40, 20]])


def test_boxes_below_a_pixel_are_dropped():
    boxes = wrapped([1, 1, 2, 2], [3, 3, 3.9, 9], [3, 3, 9, 3], size=(10, 10))
    assert target(boxes) == ([0], [[1, 1, 2, 2]])


def test_an_image_without_boxes():
    found = box_target(windowed(wrapped(size=(10, 10)), [slice(0, 5)] * 2, [3, 3]), torch.zeros(0).long(), 1)
    assert found["boxes"].shape == (0, 4) and found["labels"].shape == (0,)


def test_padding_moves_nothing_and_clips_nothing():
    boxes = PadTo((30, 40))(wrapped([-5, 2, 12, 9], size=(10, 12)))
    assert boxes.canvas_size == (30, 40) and boxes.tolist() == [[-5, 2, 12, 9]]


@pytest.mark.parametrize("turns", range(4))
def test_boxes_turn_as_their_image(turns):
    mask = torch.zeros(1, 7, 11, dtype=torch.bool)
    mask[0, 1:3, 4:9] = True
    boxes = turned(wrapped([4, 1, 9, 3], size=(7, 11)), turns)
    after = torch.rot90(mask, turns, (-2, -1))
    assert boxes.canvas_size == tuple(after.shape[1:])
    assert torch.equal(boxes.as_subclass(Tensor), mask_bounds(after))


@pytest.mark.parametrize("seed", range(20))
def test_boxes_and_masks_change_alike(seed):
    """The box of an object follows its mask through all transforms, to a pixel."""
    mask = torch.zeros(1, 60, 72, dtype=torch.int32)
    mask[0, 12:43, 20:51] = 1
    image = tv_tensors.Image(torch.zeros(3, 60, 72, dtype=torch.uint8))
    change = training_transform(ALL, [0] * 3, [1] * 3)
    torch.manual_seed(seed)
    _, changed = change(image, tv_tensors.Mask(mask))
    torch.manual_seed(seed)
    _, boxes = change(image, wrapped([20, 12, 51, 43], size=(60, 72)))
    labels, corners = target(boxes)
    if labels:
        bounds = mask_bounds(changed.as_subclass(Tensor) > 0)
        assert (torch.tensor(corners) - bounds).abs().max() <= 1
    else:
        assert changed.sum() < 0.1 * 48 * 40


def test_the_boxes_of_an_instance_set_are_those_of_its_masks(shapes: Path):
    dataset = Dataset(shapes)
    split = dataset.split("train")
    plain = plain_transform([0] * 3, [1] * 3)
    masks = SegmentationDataset(split, dataset.view("instance"), plain)
    boxes = SegmentationDataset(split, dataset.view("detection"), plain)
    for k in range(3):
        (image, with_masks), (same, found) = masks[k], boxes[k]
        assert torch.equal(image, same) and "masks" not in found and "valid" not in found
        order = with_masks["boxes"][:, 0].argsort(), found["boxes"][:, 0].argsort()
        assert torch.equal(with_masks["boxes"][order[0]], found["boxes"][order[1]])
        assert torch.equal(with_masks["labels"][order[0]], found["labels"][order[1]])
    images, targets = collate([boxes[0], boxes[1]])
    assert torch.equal(targets[1]["boxes"], boxes[1][1]["boxes"]) and images.shape[1:] == (3, 48, 60)


def test_crowds_are_skipped_and_boxes_clipped_to_the_image(shapes: Path, tmp_path: Path):
    dataset = Dataset(shapes)
    split = dataset.split("train")
    record, content = split.images[0], read_json(split.instances_json)
    height, width = (content["images"][0][key] for key in ("height", "width"))
    content["annotations"] = [
        {"image_id": 1, "category_id": 3, "bbox": [-3, 2, 10, height], "iscrowd": 0},
        {"image_id": 1, "category_id": 3, "bbox": [0, 0, 5, 5], "iscrowd": 1},
    ]
    split.root = tmp_path
    write_json(split.instances_json, content)
    boxes, labels = BoxReader(split, dataset.view("detection"))(record)
    assert boxes.canvas_size == (height, width)
    assert boxes.tolist() == [[0, 2, 7, height]]
    assert labels.tolist() == [dataset.view("detection").index_of[3]]


def test_a_size_that_is_not_that_of_the_image_is_an_error(shapes: Path, tmp_path: Path):
    dataset = Dataset(shapes)
    split = dataset.split("train")
    images, content = split.images, read_json(split.instances_json)
    content["images"][0]["width"] = 99
    split.root = tmp_path
    write_json(split.instances_json, content)
    items = SegmentationDataset(split, dataset.view("detection"), plain_transform([0] * 3, [1] * 3))
    with pytest.raises(
        SegbenchError, match=rf"{images[0].path.name}: has height and width .* truth has .*99"
    ):
        items[0]
