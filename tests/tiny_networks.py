"""Networks small enough to train in a test, and a specification to do so; subprocesses import them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segbench.contract.cell import CellSpec
from segbench.contract.prediction import Instances, Panoptic, Prediction
from segbench.contract.view import View
from segbench.errors import SegbenchError
from segbench.models.network import Network, SemanticNetwork
from segbench.training import parallel


def make_spec(
    network: str = "Plain", *, task: str = "semantic", seed: int = 1, options: Any = None, **recipe: Any
):
    """A short training of a network in tiny_networks.py."""
    settings = {"iterations": 8, "batch_size": 4, "augment": {"crop": [24, 24]}, "optimizer": {"lr": 0.01}}
    return CellSpec.model_validate(
        {
            "class_path": f"tiny_networks:{network}",
            "options": options or {},
            "task": task,
            "seed": seed,
            "recipe": settings | recipe,
        }
    )


class Plain(SemanticNetwork):
    """Two convolutions. `dropout` draws from the global generator in training."""

    def __init__(self, view: View, in_channels: int, width: int = 8, dropout: float = 0.0) -> None:
        super().__init__(view, in_channels)
        self.backbone = nn.Conv2d(in_channels, width, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(width, len(view.classes), 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.dropout(self.backbone(images).relu()))


class Normalised(Plain):
    """With batch normalisation in its backbone."""

    def __init__(self, view: View, in_channels: int, width: int = 8) -> None:
        super().__init__(view, in_channels, width)
        self.backbone = nn.Sequential(self.backbone, nn.BatchNorm2d(width))


class Pooled(Normalised):
    """Normalises one value a channel and image, as pyramid pooling does."""

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.backbone(images.mean((2, 3), keepdim=True))
        return self.head(pooled.expand(-1, -1, *images.shape[2:]))


class OneSize(Plain):
    """Decides by the size of its input, so that no other size can be exported."""

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        logits = super().forward(images)
        return logits * 2 if (height, width) == (48, 60) else logits


class Diverging(Plain):
    """Its loss is not a number from the third call on."""

    calls = 0

    def losses(self, images: Tensor, targets: list[dict[str, Any]]) -> dict[str, Tensor]:
        self.calls += 1
        found = super().losses(images, targets)
        return {**found, "broken": found["cross_entropy"] * (float("nan") if self.calls > 2 else 1.0)}


class Signalled(Plain):
    """Sends its own process SIGTERM in the third step."""

    calls = 0

    def losses(self, images: Tensor, targets: list[dict[str, Any]]) -> dict[str, Tensor]:
        self.calls += 1
        if self.calls == 3:
            signal.raise_signal(signal.SIGTERM)
        return super().losses(images, targets)


class Interrupted(Normalised):
    """In the fourth step of the process `rank`, once: "stop" itself, "stop all", "kill" or "fail".

    `once`: a file that is made then. Processes of a group see only what their arguments hold.
    """

    calls = 0

    def __init__(self, view: View, in_channels: int, once: str, what: str, rank: int = 0) -> None:
        super().__init__(view, in_channels)
        self.once, self.what, self.rank = Path(once), what, rank

    def losses(self, images: Tensor, targets: list[dict[str, Any]]) -> dict[str, Tensor]:
        self.calls += self.training
        if self.calls == 4 and parallel.rank() == self.rank and not self.once.exists():
            self.once.touch()
            parent = multiprocessing.parent_process()
            if self.what == "stop all":
                assert parent and parent.pid
                os.kill(parent.pid, signal.SIGTERM)
            elif self.what == "stop":
                signal.raise_signal(signal.SIGUSR1)
            elif self.what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            else:
                raise SegbenchError("is torn", where="image.png")
        if self.what == "stop all":
            time.sleep(0.02)
        return super().losses(images, targets)


class Hungry(Plain):
    def losses(self, images: Tensor, targets: list[dict[str, Any]]) -> dict[str, Tensor]:
        return {"total": torch.empty(2**60).sum()}


class Everything(Network):
    """Answers panoptic, semantic and instances from one map of class logits: one segment a class."""

    tasks = ("panoptic",)

    def __init__(self, view: View, in_channels: int) -> None:
        super().__init__(view, in_channels)
        self.head = nn.Conv2d(in_channels, len(view.classes), 1)

    def losses(self, images: Tensor, targets: list[dict[str, Any]]) -> dict[str, Tensor]:
        logits = self.head(images)
        rows = [
            (one[label] * mask).mean()
            for one, target in zip(logits, targets)
            for label, mask in zip(target["labels"], target["masks"])
        ]
        return {"masks": torch.stack(rows).square().mean()}

    @torch.inference_mode()
    def predict(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[Prediction]:
        found = []
        for logits, size in zip(self.head(images), sizes):
            large = nn.functional.interpolate(logits[None], size=size)[0]
            semantic = large.argmax(0)
            labels = semantic.unique()
            masks = semantic == labels[:, None, None]
            scores = logits.new_ones(len(labels))
            numbers = torch.arange(1, len(labels) + 1, device=logits.device)
            segments = (masks * numbers[:, None, None]).sum(0)
            found.append(
                Prediction(semantic, Instances(scores, labels, masks), Panoptic(segments, labels, scores))
            )
        return found


class Segments(Everything):
    """Answers panoptic and semantic only."""

    def predict(self, images: Tensor, sizes: list[tuple[int, int]]) -> list[Prediction]:
        return [Prediction(one.semantic, None, one.panoptic) for one in super().predict(images, sizes)]


class Overflowing(Plain):
    """Its gradients are infinite in the steps `steps`, and its weights stay finite."""

    calls = 0

    def __init__(self, view: View, in_channels: int, steps: list[int]) -> None:
        super().__init__(view, in_channels)
        self.steps = steps

    def losses(self, images: Tensor, targets: list[dict[str, Any]]) -> dict[str, Tensor]:
        self.calls += self.training
        found = super().losses(images, targets)
        weight = self.head.weight.flatten()[0]
        large = 1e38 if self.calls in self.steps else 0.0
        return {**found, "steep": (weight - weight.detach()) * large * large}


class Unordered(Plain):
    """Uses an operation that has no deterministic form, not even on processors."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits.put(torch.zeros(1, dtype=torch.int64), logits.flatten()[:1], accumulate=False)
