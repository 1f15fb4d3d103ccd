"""One training step of Mask2Former beside transformers', with the same weights, batch and sizes.

    python benchmarks/mask2former_step.py [--size 256] [--batch 2] [--threads 2] [--steps 5]

The full ResNet-50 model at 133 classes, fp32, forward, losses and backward. Steps of both alternate, so that
whatever else the machine does falls on both; the medians are printed.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, ResNetConfig

from segbench.data.dataset import Category, View
from segbench.models.mask2former import Mask2Former
from segbench.models.mask2former.transformers_weights import load_transformers_state

CLASSES, OBJECTS = 133, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, default in (("size", 256), ("batch", 2), ("threads", 2), ("steps", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    stages = ["stage1", "stage2", "stage3", "stage4"]
    backbone = ResNetConfig(layer_type="bottleneck", out_features=stages)
    theirs = Mask2FormerForUniversalSegmentation(
        Mask2FormerConfig(backbone_config=backbone, num_labels=CLASSES)
    ).train()
    classes = tuple(Category(id=i + 1, name=str(i), isthing=True, color=(0, 0, 0)) for i in range(CLASSES))
    ours = Mask2Former(View("instance", classes), 3).train()
    load_transformers_state(ours, theirs.state_dict())

    side = options.size
    images = torch.randn(options.batch, 3, side, side)
    masks = torch.rand(options.batch, OBJECTS, side // 16, side // 16).repeat_interleave(16, 2) > 0.5
    masks = masks.repeat_interleave(16, 3)
    labels = torch.randint(CLASSES, (options.batch, OBJECTS))
    valid = torch.ones(side, side, dtype=torch.bool)
    targets = [{"labels": n, "masks": m, "valid": valid} for n, m in zip(labels, masks)]

    def step_ours() -> None:
        ours.zero_grad()
        sum(ours.losses(images, targets).values()).backward()

    def step_theirs() -> None:
        theirs.zero_grad()
        truth = {"mask_labels": [m.float() for m in masks], "class_labels": list(labels)}
        theirs(images, **truth).loss.backward()

    seconds: dict[str, list[float]] = {"segbench": [], "transformers": []}
    for number in range(options.steps + 1):
        for name, step in (("segbench", step_ours), ("transformers", step_theirs)):
            started = time.perf_counter()
            step()
            if number:  # the first step warms up
                seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        print(f"{name:13} {median:6.2f} s a step")
    print(f"ratio         {medians['segbench'] / medians['transformers']:6.2f}")


if __name__ == "__main__":
    main()
