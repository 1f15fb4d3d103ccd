"""Images fed by our loader and by torchvision's reference pipeline.

    python -m benchmarks.loading [NAME ...] [--repetitions 12] [--crop 512] [--scale 0.5,2]

Both read the same files in one process with one thread: decode, resize by a random factor, crop, flip, jitter
of the colours, normalise, and the truth of the crop as tensors. theirs: `torchvision.transforms.v2` on Pillow
images, in the order of torchvision's references/segmentation and references/detection, with masks of
pycocotools for objects. A map of panoptic segments is resized as one map, and becomes masks after the crop.
kept: ours with `cache: ram`, which has decoded the images and maps before. later: ours with
`augment.on_device`: colours are changed on the device, which does not count.

Times are processor seconds per image. Images of both alternate, so that whatever else the machine does falls
on both. The table has the means over all images, since images that are resized to twice their size take
longer.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from pycocotools import mask as coco
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from segbench.contract.recipe import Augment
from segbench.contract.view import Category, Task
from segbench.data.coco.index import AnnotationIndex
from segbench.data.dataset import Converted, Dataset, Sample, Split, rgb_to_id
from segbench.data.images import save_raster
from segbench.data.loading.kept import keep
from segbench.data.loading.loader import SegmentationDataset, TrainingStream
from segbench.data.loading.on_device import DeviceChanges
from segbench.data.loading.transforms import training_transform
from segbench.data.writing.writer import write_dataset

IMAGES = 4
CASES: dict[str, tuple[Task, tuple[int, int], str]] = {
    "photographs of 2,000 pixels, instances": ("instance", (1500, 2000), ".jpg"),
    "streets of 2,048 pixels, panoptic": ("panoptic", (1024, 2048), ".png"),
    "photographs of 1,000 pixels, semantic": ("semantic", (750, 1000), ".jpg"),
}
THINGS, STUFF = range(1, 9), range(9, 20)
JITTER = 0.2


def picture(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """An image with structure at all sizes, like a photograph's (H x W x 3 uint8)."""
    total = np.zeros((*size, 3), np.float32)
    for cells in (4, 16, 64, 256):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC), np.float32) / cells**0.5
    total = (total - total.min()) / (total.max() - total.min()) * 255
    return (total + rng.normal(0, 2, total.shape)).clip(0, 255).astype(np.uint8)


def outline(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A wobbly ellipse of a twentieth to a fifth of the image's height (N x 2 points)."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radius = rng.uniform(0.05, 0.2) * size[0] * (1 + 0.2 * rng.normal(size=angle.size))
    points = np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None]
    return (points + rng.uniform((0, 0), size[::-1])).clip(0, size[::-1]).round(2)


def regions(rng: np.random.Generator, size: tuple[int, int], things: int) -> tuple[np.ndarray, list[Any]]:
    """A map of segments: bands of stuff with things on them, and its `segments_info`."""
    canvas = Image.new("I", size[::-1])
    draw = ImageDraw.Draw(canvas)
    for number, category in enumerate(STUFF):
        top = number * size[0] // len(STUFF)
        draw.rectangle((0, top, *size[::-1]), fill=category)
    infos = [{"id": category, "category_id": category, "iscrowd": 0} for category in STUFF]
    for number in range(things):
        segment = 1000 + number
        draw.polygon([tuple(point) for point in outline(rng, size)], fill=segment)
        infos.append({"id": segment, "category_id": int(rng.choice(THINGS)), "iscrowd": 0})
    ids = np.asarray(canvas)
    shown = set(np.unique(ids).tolist())
    return ids, [info for info in infos if info["id"] in shown]


def samples(task: Task, size: tuple[int, int], suffix: str, folder: Path) -> Iterator[Sample]:
    """Images for training, and one to test on."""
    for number in range(IMAGES + 1):
        rng = np.random.default_rng(number)
        path = folder / f"{number}{suffix}"
        array = picture(rng, size)
        if suffix == ".jpg":
            Image.fromarray(array).save(path, quality=90)
        else:
            path = save_raster(array, path)
        truth: dict[str, Any] = {}
        if task == "instance":
            truth["instances"] = [
                {
                    "category_id": int(rng.choice(THINGS)),
                    "segmentation": [outline(rng, size).ravel().tolist()],
                    "iscrowd": 0,
                }
                for _ in range(8)
            ]
        elif task == "panoptic":
            truth["panoptic"] = regions(rng, size, 20)
        else:
            ids, infos = regions(rng, size, 5)
            category = np.zeros(ids.max() + 1, np.int32)
            for info in infos:
                category[info["id"]] = info["category_id"]
            truth["semantic"] = category[ids]
        yield Sample("train" if number < IMAGES else "test", str(number), path, **truth)


def make(name: str, folder: Path) -> Dataset:
    """Write the dataset of a case."""
    task, size, suffix = CASES[name]
    (folder / "files").mkdir(parents=True)
    categories = [
        Category(id=c, name=f"class {c}", isthing=c in THINGS, color=(c, 0, 0)) for c in (*THINGS, *STUFF)
    ]
    converted = Converted(
        [c for c in categories if c.isthing or task != "instance"],
        background=task == "instance",
        evaluation_split="test",
        samples=samples(task, size, suffix, folder / "files"),
        orientation="stored",
    )
    write_dataset(
        converted, folder / "data", name="b", title="", licence="", citation="", archives={}, channels=3
    )
    return Dataset(folder / "data")


class Theirs:
    """torchvision's reference pipeline on the files of a split."""

    def __init__(self, split: Split, task: Task, augment: Augment) -> None:
        info = split.dataset.info
        self.split, self.task, self.view = split, task, split.dataset.view(task)
        json = {"instance": split.instances_json, "panoptic": split.panoptic_json}.get(task)
        self.annotations = AnnotationIndex(json) if json else None
        short = min(Image.open(split.images[0].path).size)
        low, high = (round(factor * short) for factor in augment.scale)
        assert augment.crop
        self.transform = v2.Compose(
            [
                v2.RandomResize(low, high + 1),
                v2.RandomHorizontalFlip(),
                v2.RandomCrop(augment.crop, pad_if_needed=True),
                v2.ColorJitter(JITTER, JITTER, JITTER),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(info.mean, info.std),
            ]
        )

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Any]]:
        record = self.split.images[index]
        image = Image.open(record.path).convert("RGB")
        if self.task == "semantic":
            truth = tv_tensors.Mask(np.array(Image.open(self.split.semantic_path(record.stem))))
            image, mask = self.transform(image, truth)
            return image, {"semantic": mask.long() - 1}
        assert self.annotations
        found = self.annotations[record.id]
        if self.task == "instance":
            masks = [
                coco.decode(coco.merge(coco.frPyObjects(one["segmentation"], *image.size[::-1])))
                for one in found
            ]
            labels = torch.tensor([self.view.index_of[one["category_id"]] for one in found])
            truth = {"masks": tv_tensors.Mask(np.stack(masks)), "labels": labels}
            image, truth = self.transform(image, truth)
            kept = truth["masks"].bool().flatten(1).any(1)
            return image, {"masks": truth["masks"][kept].bool(), "labels": truth["labels"][kept]}
        ids = rgb_to_id(np.asarray(Image.open(self.split.panoptic_folder / f"{record.stem}.png")))
        image, mask = self.transform(image, tv_tensors.Mask(ids))
        segments = {one["id"]: one["category_id"] for one in found[0]["segments_info"]}
        shown = [number for number in torch.unique(mask).tolist() if number in segments]
        masks = mask == torch.tensor(shown)[:, None, None]
        return image, {"masks": masks, "labels": [self.view.index_of[segments[n]] for n in shown]}


def seconds(load: Callable[[int], Any], position: int) -> float:
    started = time.process_time()
    load(position)
    return time.process_time() - started


def stream(dataset: Dataset, split: Split, task: Task, augment: Augment) -> TrainingStream:
    """Our loader."""
    mean, std = dataset.info.mean, dataset.info.std
    later = DeviceChanges(augment, mean, std) if augment.on_device else None
    transform = training_transform(augment, mean, std)
    return TrainingStream(SegmentationDataset(split, dataset.view(task), transform, later=later), seed=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(CASES))
    parser.add_argument("--repetitions", type=int, default=12)
    parser.add_argument("--crop", type=int, default=512)
    parser.add_argument("--scale", default="0.5,2")
    options = parser.parse_args()
    torch.set_num_threads(1)
    low, high = map(float, options.scale.split(","))
    augment = Augment(scale=(low, high), crop=(options.crop,) * 2, color_jitter=JITTER)
    later = augment.model_copy(update={"on_device": True})
    print("| Images | ours | theirs | theirs / ours | later | theirs / later | kept | theirs / kept |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in [case for case in CASES if any(wanted in case for wanted in options.names)]:
        with tempfile.TemporaryDirectory() as folder:
            dataset = make(name, Path(folder))
            task, split = CASES[name][0], dataset.split("train")
            theirs = Theirs(split, task, augment)
            decoded = dataset.split("train")
            decoded.kept = keep(decoded, dataset.view(task), Path(folder))
            ours, kept, drawn = (
                stream(dataset, images, task, how)
                for images, how in ((split, augment), (decoded, augment), (split, later))
            )
            spent = np.zeros(4)
            for position in range(-1, options.repetitions * IMAGES):
                place = max(0, position)
                times = [seconds(one.__getitem__, place) for one in (ours, kept, drawn)]
                torch.manual_seed(position)
                times.append(seconds(theirs.__getitem__, place % IMAGES))
                if position >= 0:  # the first opens files and imports modules
                    spent += times
            own, memory, device, other = 1000 * spent / (options.repetitions * IMAGES)
            print(
                f"| {name} | {own:.1f} ms | {other:.1f} ms | {other / own:.2f} | {device:.1f} ms"
                f" | {other / device:.2f} | {memory:.1f} ms | {other / memory:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
