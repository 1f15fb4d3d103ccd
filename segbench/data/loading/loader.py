"""From a split on disk to batches: reading, drawing at random, padding together.

Item `position` of a training depends on (seed, position) only, so results depend neither on the number of
loader processes nor on where a training was interrupted: iteration i draws from position i * batch size on.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from segbench.contract.prediction import IGNORE, Target
from segbench.contract.view import View
from segbench.data.dataset import Split
from segbench.data.loading.targets import build_target, layer_reader
from segbench.errors import SegbenchError

Item = tuple[Tensor, Target]
Batch = tuple[Tensor, list[Target]]


def image_tensor(array: np.ndarray) -> tv_tensors.Image:
    """H x W x C uint8, or float32 in 0..1, -> C x H x W."""
    return tv_tensors.Image(torch.from_numpy(np.array(array.transpose(2, 0, 1))))


def derived_seed(seed: int, number: int) -> int:
    """For torch's generators: another seed for each number."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> np.uint64(1))


class SegmentationDataset(Dataset[Item]):
    """(image C x H x W float, `Target`) of every image of a split, in the order of their ids."""

    def __init__(self, split: Split, view: View, transform: v2.Transform) -> None:
        self.split, self.view, self.transform = split, view, transform
        self._records = split.images
        self._layers = layer_reader(split, view)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Item:
        record = self._records[index]
        image = self.split.read_image(record)
        layers, labels = self._layers(record)
        if layers.shape[1:] != image.shape[:2]:
            raise SegbenchError(
                f"has height and width {image.shape[:2]}, its truth {layers.shape[1:]}",
                where=record.path,
                remedy="convert the dataset again, or remove the image from it",
            )
        changed, masks = self.transform(image_tensor(image), tv_tensors.Mask(torch.from_numpy(layers)))
        target = build_target(
            self.view.task, masks.as_subclass(Tensor), torch.from_numpy(labels), image_id=record.id
        )
        return changed.as_subclass(Tensor), target


class TrainingStream(Dataset[Item | SegbenchError]):
    """Endless draws from a dataset, each image once an epoch, in a new order every epoch."""

    def __init__(self, dataset: SegmentationDataset, seed: int) -> None:
        self._dataset, self._seed = dataset, seed
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    def index(self, position: int) -> int:
        epoch, place = divmod(position, len(self._dataset))
        if epoch != self._epoch:
            order = np.random.default_rng([self._seed, epoch]).permutation(len(self._dataset))
            self._epoch, self._order = epoch, order
        return int(self._order[place])

    def __getitem__(self, position: int) -> Item | SegbenchError:
        """Errors of the data are returned, not raised: torch would bury them in a worker's traceback."""
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(1)  # as in a loader process: sums over an image depend on the threads
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(derived_seed(self._seed, position))
                return self._dataset[self.index(position)]
        except SegbenchError as error:
            return error
        finally:
            torch.set_num_threads(threads)


class MicroBatches:
    """Positions of the images of each forward pass, `accumulate` an iteration, from `start` on.

    `share` (number, of so many): the part of the batch that one of several processes takes.
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
    """The stream's images, one micro-batch after the other; raises the `SegbenchError` of a broken image."""
    loader = DataLoader(
        stream,
        batch_sampler=positions,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin_memory,
        worker_init_fn=_ignore_signals,
        generator=torch.Generator(),  # else torch draws the workers' seed from the training's numbers
    )
    for batch in loader:
        if isinstance(batch, SegbenchError):
            raise batch
        yield batch


def _ignore_signals(_: int) -> None:
    """Schedulers signal all processes of a job; the training ends its loaders itself."""
    for name in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(name, signal.SIG_IGN)


def collate(items: list[Item | SegbenchError]) -> Batch | SegbenchError:
    """Pad to the largest image of the batch, at the bottom and the right: images with 0, truth with void."""
    good: list[Item] = []
    for item in items:
        if isinstance(item, SegbenchError):
            return item
        good.append(item)
    height = max(image.shape[1] for image, _ in good)
    width = max(image.shape[2] for image, _ in good)
    images = torch.zeros(len(good), good[0][0].shape[0], height, width)
    for slot, (image, _) in zip(images, good):
        slot[:, : image.shape[1], : image.shape[2]] = image
    return images, [_pad(target, height, width) for _, target in good]


def _pad(target: Target, height: int, width: int) -> Target:
    def pad(key: str, value: Any) -> Any:
        if key not in ("semantic", "masks", "valid") or value.shape[-2:] == (height, width):
            return value
        extra = (0, width - value.shape[-1], 0, height - value.shape[-2])
        return F.pad(value, extra, value=IGNORE if key == "semantic" else False)

    return {key: pad(key, value) for key, value in target.items()}
