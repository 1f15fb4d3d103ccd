"""Measure the parameters and operations of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from segbench.contract.card import Size
from segbench.contract.view import BACKGROUND, TASKS, Category, Task, View
from segbench.importing import load_object


def measure(
    class_path: str,
    tasks: Sequence[Task],
    options: Mapping[str, Any],
    image: tuple[int, int] = (512, 512),
    classes: int = 21,
) -> Size:
    """Measure a network, built for the richest of its tasks.

    If possible, the network runs on the meta device, which computes shapes only. If its work depends on
    values, such as the number of objects found, it runs with random weights on noise (seed 0).

    Args:
        class_path: the network, as `package.module:Class`.
        tasks: tasks of the network.
        options: options of its constructor.
        image: height and width of the image in pixels.
        classes: number of classes; half of those of a panoptic network are stuff.
    """
    view = _view(max(tasks, key=TASKS.index), classes)
    kind = load_object(class_path)
    for device in ("meta", "cpu"):
        torch.manual_seed(0)
        with torch.device(device), torch.inference_mode(), FlopCounterMode(display=False) as counter:
            network = kind(view, 3, **options).eval()
            try:
                network(torch.rand(1, 3, *image))
            except (NotImplementedError, RuntimeError):  # torch raises either for values of a meta tensor
                if device == "cpu":
                    raise
                continue
        break
    parameters = sum(p.numel() for p in network.parameters())
    return Size(parameters=parameters, flops=counter.get_total_flops(), image=image, classes=classes)


def _view(task: Task, classes: int) -> View:
    named = [
        Category(id=i, name=str(i), isthing=task != "panoptic" or i > classes // 2, color=(i, i, i))
        for i in range(1, classes)
    ]
    return View(task, (BACKGROUND, *named) if task == "semantic" else tuple(named))
