"""Load a split in batches: read, draw at random, pad.

Item `position` of a training run depends only on (seed, position), so results depend neither on the number of
loader processes nor on interruptions. Iteration i starts at position i * batch size.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from segbench.contract.prediction import IGNORE, Target
from segbench.contract.recipe import BorderWeights
from segbench.contract.view import View
from segbench.data.dataset import Split
from segbench.data.loading.borders import BorderReader, border_weights
from segbench.data.loading.boxes import BoxReader, box_target
from segbench.data.loading.decoding import read_pixels
from segbench.data.loading.grid import Grid, check_size
from segbench.data.loading.on_device import DeviceChanges, Drawn
from segbench.data.loading.targets import LayerReader, build_target, layer_reader
from segbench.data.loading.transforms import window_first
from segbench.errors import SegbenchError

Truth = TypeVar("Truth", tv_tensors.Mask, tv_tensors.BoundingBoxes)
Item = tuple[Tensor, Target]
Batch = tuple[Tensor, list[Target]]


def image_tensor(array: np.ndarray) -> tv_tensors.Image:
    """Convert H x W x C uint8, or float32 in 0..1, to C x H x W."""
    return tv_tensors.Image(torch.from_numpy(np.array(array.transpose(2, 0, 1))))


def derived_seed(seed: int, number: int) -> int:
    """Derive a seed for torch's generators from a seed and a number."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> np.uint64(1))


class SegmentationDataset(Dataset[Item]):
    """The images of a split in the order of their ids, as (C x H x W float32, `Target`).

    An item raises SegbenchError if its file is broken or its truth does not fit. With `borders`, targets of a
    semantic view have `border`, see `border_weights`. With `later`, images have the type of their file, and
    targets `changes`, see `DeviceChanges`.
    """

    def __init__(
        self,
        split: Split,
        view: View,
        transform: v2.Transform,
        borders: BorderWeights | None = None,
        later: DeviceChanges | None = None,
    ) -> None:
        self.split, self.view, self.transform, self.borders = split, view, transform, borders
        self.later = later
        self._window, self._rest = window_first(transform)
        self._records = split.images
        if view.task == "detection":
            self._boxes = BoxReader(split, view)
        elif borders:
            self._layers: LayerReader = BorderReader(split, view)
        else:
            self._layers = layer_reader(split, view)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Item:
        record = self._records[index]
        image = tv_tensors.Image(read_pixels(self.split, record))
        size = image.shape[-2], image.shape[-1]
        window = self._window.make_params([image]) if self._window else None
        if self.view.task == "detection":
            boxes, labels = self._boxes(record)
            check_size(boxes.canvas_size, size, record)
            if self._window and window:
                boxes = self._window.transform(boxes, window)
            changed, boxes, drawn = self._changed(image, boxes, labels.numpy(), window)
            return changed, box_target(boxes, labels, record.id) | drawn
        grid = Grid.of_window(size, window["window"], window["size"]) if window else Grid.whole(size)
        layers, numbers = self._layers(record, grid)
        truth = tv_tensors.Mask(torch.from_numpy(layers))
        changed, masks, drawn = self._changed(image, truth, numbers, window)
        labels = torch.from_numpy(numbers)
        masks = masks.as_subclass(Tensor)
        target = build_target(self.view.task, masks, labels, image_id=record.id)
        if self.borders:
            target["border"] = border_weights(masks[1:], self.borders)
        return changed, target | drawn

    def _changed(
        self, image: tv_tensors.Image, truth: Truth, labels: np.ndarray, window: dict[str, Any] | None
    ) -> tuple[Tensor, Truth, dict[str, Drawn]]:
        """Transform an image and its truth; with `later`, also return what the device will change.

        Args:
            image: the whole image.
            truth: its truth, already in the window if there is one.
            labels: class index of each object or segment, for the transforms.
            window: what the first transform has drawn, if the image is cropped before all else.
        """
        if self._window and window:
            image = self._window.transform(image, window)
        changed, truth, _ = self._rest(tv_tensors.wrap(image.contiguous(), like=image), truth, labels)
        drawn = {}
        if self.later:
            changed, truth, drawn["changes"] = self.later.draw(changed, truth)
        return changed.as_subclass(Tensor), truth, drawn


class Images(Protocol):
    """Training images by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Item: ...


class TrainingStream(Dataset[Item | SegbenchError]):
    """Endless samples from a dataset: each image once per epoch, in a new order in each epoch."""

    def __init__(self, dataset: Images, seed: int) -> None:
        self._dataset, self._seed = dataset, seed
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    def index(self, position: int) -> int:
        """Return the index in the dataset of a position in the stream."""
        epoch, place = divmod(position, len(self._dataset))
        if epoch != self._epoch:
            order = np.random.default_rng([self._seed, epoch]).permutation(len(self._dataset))
            self._epoch, self._order = epoch, order
        return int(self._order[place])

    def __getitem__(self, position: int) -> Item | SegbenchError:
        """Return errors of the data, not raise them: torch would hide them in a worker's traceback."""
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(1)  # as in loader processes: sums depend on the number of threads
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(derived_seed(self._seed, position))
                return self._dataset[self.index(position)]
        except SegbenchError as error:
            return error
        finally:
            torch.set_num_threads(threads)


class MicroBatches:
    """Batch sampler: the positions of the images of each forward pass.

    Args:
        iterations: number of iterations of the training.
        batch_size: images per iteration, over all processes.
        accumulate: forward passes per iteration and process.
        start: first iteration.
        share: (rank, number of processes); each process has its part of the batch.
    """

    def __init__(
        self, iterations: int, batch_size: int, accumulate: int, start: int, share: tuple[int, int] = (0, 1)
    ) -> None:
        self._iterations = range(start, iterations)
        self._batch_size, self._accumulate = batch_size, accumulate
        self._rank, self._size = share

    def __len__(self) -> int:
        return len(self._iterations) * self._accumulate

    def __iter__(self) -> Iterator[list[int]]:
        for iteration in self._iterations:
            positions = np.arange(self._batch_size) + iteration * self._batch_size
            parts = np.array_split(positions, self._accumulate * self._size)
            for part in parts[self._rank :: self._size]:
                yield part.tolist()


def training_batches(
    stream: TrainingStream, positions: MicroBatches, *, workers: int, pin_memory: bool = False
) -> Iterator[Batch]:
    """Yield the micro-batches of a training run.

    Args:
        stream: the images.
        positions: batch sampler.
        workers: number of loader processes; 0 loads in this process.
        pin_memory: whether to copy batches to pinned memory.

    Raises:
        SegbenchError: an image is broken.
    """
    loader = DataLoader(
        stream,
        batch_sampler=positions,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin_memory,
        worker_init_fn=ignore_signals,
        generator=torch.Generator(),  # else torch draws the workers' seed from the global generator
    )
    for batch in loader:
        if isinstance(batch, SegbenchError):
            raise batch
        yield batch


def ignore_signals(_: int) -> None:
    """Ignore signals, which schedulers send to all processes of a job: the main process ends its loaders."""
    for name in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(name, signal.SIG_IGN)


def collate(items: list[Item | SegbenchError]) -> Batch | SegbenchError:
    """Pad a batch to its largest image, at the bottom and the right: images with 0, truth with void.

    Return the first SegbenchError among the items, if there is one.
    """
    good: list[Item] = []
    for item in items:
        if isinstance(item, SegbenchError):
            return item
        good.append(item)
    height = max(image.shape[1] for image, _ in good)
    width = max(image.shape[2] for image, _ in good)
    first = good[0][0]
    images = torch.zeros(len(good), first.shape[0], height, width, dtype=first.dtype)
    for slot, (image, _) in zip(images, good):
        slot[:, : image.shape[1], : image.shape[2]] = image
    return images, [_pad(target, height, width) for _, target in good]


def _pad(target: Target, height: int, width: int) -> Target:
    def pad(key: str, value: Any) -> Any:
        if key not in ("semantic", "masks", "valid", "border") or value.shape[-2:] == (height, width):
            return value
        extra = (0, width - value.shape[-1], 0, height - value.shape[-2])
        return F.pad(value, extra, value=IGNORE if key == "semantic" else False)

    return {key: pad(key, value) for key, value in target.items()}
