from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_networks import make_spec

from segbench.contract.recipe import Augment, CopyPaste
from segbench.contract.view import Task
from segbench.data.dataset import Dataset
from segbench.data.loading.copy_paste import PastedObjects, drawn_objects, pasted
from segbench.data.loading.loader import MicroBatches, SegmentationDataset, TrainingStream, training_batches
from segbench.data.loading.targets import mask_bounds
from segbench.data.loading.transforms import plain_transform, training_transform
from segbench.training.loop import Training


def item(value: float, labels: list[int], spans: list[tuple[int, int]], width: int = 10) -> tuple:
    """An image of 2 x `width` pixels with objects that are ranges of columns; the last column is void."""
    masks = torch.zeros(len(spans), 2, width, dtype=torch.bool)
    for mask, (start, stop) in zip(masks, spans):
        mask[:, start:stop] = True
    valid = torch.ones(2, width, dtype=torch.bool)
    valid[:, -1] = False
    target = {"image_id": 7, "labels": torch.tensor(labels), "masks": masks, "valid": valid}
    return torch.full((3, 2, width), value), target | {"boxes": mask_bounds(masks)}


def test_pasted_objects_hide_what_is_below() -> None:
    """Of three objects, one is hidden, one cut, one untouched; of two others, the second is pasted."""
    into = item(1.0, [4, 5, 6], [(0, 2), (2, 4), (5, 7)])
    image, target = pasted(into, item(2.0, [8, 9], [(8, 9), (1, 4)]), [1])
    assert image[0, 0].tolist() == [1, 2, 2, 2, 1, 1, 1, 1, 1, 1]
    assert target["labels"].tolist() == [4, 6, 9] and target["image_id"] == 7
    columns = [mask[0].nonzero()[:, 0].tolist() for mask in target["masks"]]
    assert columns == [[0], [5, 6], [1, 2, 3]]
    assert target["boxes"].tolist() == [[0, 0, 1, 2], [5, 0, 7, 2], [1, 0, 4, 2]]
    assert (into[0] == 1).all() and into[1]["masks"].sum() == 12  # the image itself stays


def test_pasted_pixels_are_labelled_and_the_rest_keeps_its_void() -> None:
    into = item(1.0, [4], [(0, 2)])
    _, target = pasted(into, item(2.0, [8], [(9, 11)], width=14), [0])
    assert target["valid"][0].tolist() == [True] * 10
    assert target["masks"].shape == (2, 2, 10) and target["masks"][1].sum() == 2  # cut at the border
    _, target = pasted(into, item(2.0, [8], [(3, 4)], width=6), [0])
    assert target["valid"][0].tolist() == [True] * 9 + [False]


def test_objects_outside_of_the_image_are_not_pasted() -> None:
    into = item(1.0, [4], [(0, 2)])
    assert pasted(into, item(2.0, [8], [(11, 13)], width=14), [0]) is into
    assert pasted(into, item(2.0, [], []), []) is into


def test_the_number_of_objects_is_uniform() -> None:
    torch.manual_seed(0)
    target = {"labels": torch.tensor([0, 3, 3, 5, 3])}
    drawn = [drawn_objects(target, frozenset({3, 5}), 3) for _ in range(600)]
    counts = [sum(len(one) == count for one in drawn) for count in (1, 2, 3)]
    assert sum(counts) == 600 and all(abs(count - 200) < 50 for count in counts)
    assert all(one == sorted(set(one)) and 0 not in one for one in drawn)
    often = [sum(place in one for one in drawn) for place in (1, 2, 3, 4)]
    assert all(abs(count - 300) < 60 for count in often)
    assert drawn_objects(target, frozenset({3, 5}), None) == [1, 2, 3, 4]
    assert drawn_objects(target, frozenset({9}), 3) == []


def items(root: Path, task: Task, **settings: object) -> PastedObjects:
    dataset = Dataset(root)
    plain = plain_transform([0] * 3, [1] * 3)
    images = SegmentationDataset(dataset.split("train"), dataset.view(task), plain)
    return PastedObjects(images, images.view, CopyPaste(**settings))


@pytest.mark.parametrize("task", ["instance", "panoptic"])
def test_pasted_images_show_their_truth(shapes: Path, task: Task) -> None:
    """In the panoptic view, only things are pasted; channel 0 is 50 times the category."""
    torch.manual_seed(0)
    found = items(shapes, task, probability=1)
    first_thing = 2 if task == "panoptic" else 0
    more = 0
    for index in range(1, 6):
        image, target = found[index]
        values = (image[0] * 255).round()
        before = found.images[index][1]
        more += len(target["labels"]) - len(before["labels"])
        for label, mask in zip(target["labels"], target["masks"]):
            category = int(label) + (1 if task == "panoptic" else 3)
            assert mask.any() and (values[mask] == 50 * category).all()
        things = target["labels"] >= first_thing
        assert target["masks"].sum(0).max() == 1
        assert (values >= 150).equal(target["masks"][things].any(0))
        if task == "panoptic":
            assert len(target["labels"][~things].unique()) == (~things).sum() <= 2
            assert target["valid"].equal(target["masks"].any(0))
        else:
            assert target["boxes"].equal(mask_bounds(target["masks"]))
    assert more > 0


def test_probability(shapes: Path) -> None:
    torch.manual_seed(0)
    never, always = items(shapes, "instance", probability=0), items(shapes, "instance", probability=1)
    same = [torch.equal(found[k][0], found.images[k][0]) for found in (never, always) for k in range(1, 9)]
    assert all(same[:8]) and sum(same[8:]) <= 3  # an image that draws itself stays as it is


def stream(root: Path) -> TrainingStream:
    dataset = Dataset(root)
    augment = Augment.model_validate({"crop": [32, 32], "scale": [0.5, 2], "copy_paste": {"max_objects": 2}})
    change = training_transform(augment, dataset.info.mean, dataset.info.std)
    images = SegmentationDataset(dataset.split("train"), dataset.view("instance"), change)
    assert augment.copy_paste
    return TrainingStream(PastedObjects(images, images.view, augment.copy_paste), 3)


def test_workers_and_resuming_change_no_pasted_object(shapes: Path) -> None:
    def batches(workers: int, start: int) -> list:
        return list(training_batches(stream(shapes), MicroBatches(4, 4, 2, start), workers=workers))

    alone = batches(0, 0)
    for other in (batches(2, 0), alone[:4] + batches(0, 2)):
        for (images, targets), (images2, targets2) in zip(alone, other, strict=True):
            assert torch.equal(images, images2)
            for one, two in zip(targets, targets2, strict=True):
                assert all(torch.equal(torch.as_tensor(one[key]), torch.as_tensor(two[key])) for key in one)


def test_pasting_does_not_change_the_other_draws(shapes: Path) -> None:
    """The image below is the one that a training without copy-paste sees at this position."""
    with_pasted, plain = stream(shapes), stream(shapes)
    plain._dataset = plain._dataset.images
    for position in range(6):
        (image, target), (below, _) = with_pasted[position], plain[position]
        kept = ~target["masks"].any(0)
        assert torch.equal(image[:, kept], below[:, kept])


def test_a_training_pastes_objects(shapes: Path) -> None:
    """The images of a first batch have more objects with copy-paste than without."""
    augment = {"horizontal_flip": False, "copy_paste": {"probability": 1}}
    counts = []
    for one in (augment, augment | {"copy_paste": None}):
        spec = make_spec("Everything", task="panoptic", augment=one)
        training = Training(shapes, spec, None, torch.device("cpu"))
        _, targets = next(training.batches(workers=0))
        counts.append(sum(len(target["labels"]) for target in targets))
    assert counts[0] > counts[1]
