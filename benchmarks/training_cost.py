"""Operations and memory of one training image, by network, for a recipe.

    python -m benchmarks.training_cost --recipe budget [--on street] [--size 256] [NAME ...]

Counts the FLOPs of forward pass and losses (a multiply-add counts 2), times three for the backward pass, and
the bytes that the forward pass keeps for the backward pass in fp32, with random weights on noise with eight
squares an image. Only matrix products, attention and convolutions are counted. PyTorch's own count of the
backward pass takes depthwise convolutions for full ones.
"""

from __future__ import annotations

import argparse

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.steps import scene
from segbench.catalogue.listing import networks
from segbench.config.resolve import resolve
from segbench.contract.view import BACKGROUND, Category, Task, View
from segbench.importing import load_object

IMAGES = 2


def view(task: Task, classes: int = 21) -> View:
    """Half of the classes of a panoptic view are stuff."""
    named = [
        Category(id=i, name=str(i), isthing=task != "panoptic" or i > classes // 2, color=(i, i, i))
        for i in range(1, classes)
    ]
    return View(task, (BACKGROUND, *named) if task == "semantic" else tuple(named))


def cost(class_path: str, options: dict[str, object], task: Task, size: int) -> tuple[float, int]:
    """Return FLOPs and kept bytes of one image."""
    torch.manual_seed(0)
    network = load_object(class_path)(view(task), 3, **options).train()
    ours = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if (where := tensor.untyped_storage().data_ptr()) not in ours:
            kept[where] = tensor
        return tensor

    images, targets = scene(network, size, IMAGES)
    with (
        FlopCounterMode(display=False) as counter,
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        network.losses(images, targets)
    stored = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    return 3 * counter.get_total_flops() / IMAGES, stored // IMAGES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--recipe", default="budget")
    parser.add_argument("--on", default="street", help="dataset with all tasks")
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = options.names or list(networks())
    run = resolve(
        {"datasets": [options.on], "models": names, "controls": [], "recipe": options.recipe},
        source="benchmarks",
    )
    print("| Network | GFLOP an image | MB kept | kFLOP a pixel |")
    print("| --- | ---: | ---: | ---: |")
    for cell in run.cells:
        flops, stored = cost(cell.class_path, dict(cell.options), cell.task, options.size)
        per_pixel = flops / options.size**2
        print(
            f"| `{cell.model}` | {flops / 1e9:.1f} | {stored / 1e6:.0f} | {per_pixel / 1e3:.0f} |", flush=True
        )


if __name__ == "__main__":
    main()
