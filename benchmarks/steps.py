"""One training step of a network beside the same network's step in another library.

    python benchmarks/steps.py [NAME ...] [--size 128] [--batch 2] [--threads 1] [--steps 5]
                               [--precision fp32]

Full networks on ResNets: forward, losses, backward and SGD on the same images and targets; where a test of
the network maps the library's weights, both have the same ones. Seconds are of the processor, all threads
together, and steps of both alternate, so that whatever else the machine does falls on neither or on both;
the table has the medians. `--precision auto`: ours as trainings run by default (bf16 where the processor has
units for it), theirs in fp32 still.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import detection, segmentation
from transformers import (
    DetrConfig,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    MaskFormerConfig,
    MaskFormerForInstanceSegmentation,
    ResNetConfig,
)

from segbench.contract.prediction import Target
from segbench.contract.view import Category, Task, View
from segbench.models.bases.dilated import load_torchvision
from segbench.models.deeplabv3 import DeepLabV3
from segbench.models.deeplabv3plus import DeepLabV3Plus
from segbench.models.dilated import DilatedFCN
from segbench.models.faster_rcnn import FasterRCNN
from segbench.models.linknet import LinkNet
from segbench.models.mask2former import Mask2Former
from segbench.models.mask_rcnn import MaskRCNN
from segbench.models.maskformer import MaskFormer
from segbench.models.network import Network
from segbench.models.weights.transformers import load_transformers_state
from segbench.training.kernels import choose_kernels
from segbench.training.precision import Precision

OBJECTS = 8
"""In each image, on a grid."""


@dataclass
class Pair:
    """Our network, theirs, and how their loss is had of it, the images and our targets."""

    library: str
    ours: Network
    theirs: nn.Module
    loss: Callable[[nn.Module, Tensor, list[Target]], Tensor]


def view(task: Task, classes: int) -> View:
    return View(
        task,
        tuple(Category(id=i + 1, name=str(i), isthing=True, color=(0, 0, 0)) for i in range(classes)),
    )


def dilated(ours: type[Network], build: Callable[..., nn.Module]) -> Pair:
    network = ours(view("semantic", 21), 3)
    theirs = build(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    load_torchvision(network, theirs.state_dict())

    def loss(model: nn.Module, images: Tensor, targets: list[Target]) -> Tensor:
        truth = torch.stack([t["semantic"] for t in targets])
        found = model(images)  # the losses of torchvision's references/segmentation
        return F.cross_entropy(found["out"], truth) + 0.5 * F.cross_entropy(found["aux"], truth)

    return Pair("torchvision", network, theirs, loss)


def semantic_smp(ours: Network, theirs: nn.Module) -> Pair:
    def loss(model: nn.Module, images: Tensor, targets: list[Target]) -> Tensor:
        return F.cross_entropy(model(images), torch.stack([t["semantic"] for t in targets]))

    return Pair("segmentation-models-pytorch", ours, theirs, loss)


def deeplabv3plus() -> Pair:
    options = {"rates": (12, 24, 36), "convolutions": (1, 1), "depthwise_norm": False, "align_corners": True}
    theirs = smp.DeepLabV3Plus("tu-resnet50", encoder_weights=None, classes=21, upsampling=4)
    return semantic_smp(DeepLabV3Plus(view("semantic", 21), 3, **options), theirs)


def linknet() -> Pair:
    theirs = smp.Linknet("tu-resnet34", encoder_weights=None, classes=21)
    return semantic_smp(LinkNet(view("semantic", 21), 3), theirs)


def rcnn(ours: type[Network], build: Callable[..., nn.Module], size: int) -> Pair:
    theirs = build(
        weights=None, weights_backbone=None, num_classes=81, min_size=size, max_size=size,
        image_mean=[0] * 3, image_std=[1] * 3,
    )  # fmt: skip
    network = ours(view("instance", 80), 3)
    network.load_state_dict(
        {
            name.replace("backbone.body.", "backbone.net.model.").replace("backbone.fpn.", "fpn."): value
            for name, value in theirs.state_dict().items()
        }
    )

    def loss(model: nn.Module, images: Tensor, targets: list[Target]) -> Tensor:
        truth = [
            {"boxes": t["boxes"], "labels": t["labels"] + 1, "masks": t["masks"].byte()} for t in targets
        ]
        return sum(model(list(images), truth).values())

    return Pair("torchvision", network, theirs, loss)


def mask_classifier(ours: Network, theirs: nn.Module, **options: bool) -> Pair:
    load_transformers_state(ours, theirs.state_dict())

    def loss(model: nn.Module, images: Tensor, targets: list[Target]) -> Tensor:
        masks, labels = [t["masks"].float() for t in targets], [t["labels"] for t in targets]
        return model(images, mask_labels=masks, class_labels=labels, **options).loss

    return Pair("transformers", ours, theirs, loss)


def resnet() -> ResNetConfig:
    return ResNetConfig(layer_type="bottleneck", out_features=["stage1", "stage2", "stage3", "stage4"])


def maskformer() -> Pair:
    """Without dropout; the loss of every layer, as in the paper."""
    config = MaskFormerConfig(
        backbone_config=resnet(),
        decoder_config=DetrConfig(d_model=256, decoder_layers=6, num_queries=100, dropout=0.0),
        num_labels=133,
        use_auxiliary_loss=True,
    )
    ours = MaskFormer(view("instance", 133), 3, dropout=0.0)
    # it has auxiliary losses only with the hidden states
    return mask_classifier(ours, MaskFormerForInstanceSegmentation(config), output_hidden_states=True)


def mask2former() -> Pair:
    theirs = Mask2FormerForUniversalSegmentation(Mask2FormerConfig(backbone_config=resnet(), num_labels=133))
    return mask_classifier(Mask2Former(view("instance", 133), 3), theirs)


PAIRS: dict[str, Callable[[int], Pair]] = {
    "fcn_resnet50": lambda _: dilated(DilatedFCN, segmentation.fcn_resnet50),
    "deeplabv3_resnet50": lambda _: dilated(DeepLabV3, segmentation.deeplabv3_resnet50),
    "deeplabv3plus_resnet50": lambda _: deeplabv3plus(),
    "resnet34_unet": lambda _: linknet(),
    "faster_rcnn_resnet50_fpn": lambda size: rcnn(FasterRCNN, detection.fasterrcnn_resnet50_fpn, size),
    "mask_rcnn_resnet50_fpn": lambda size: rcnn(MaskRCNN, detection.maskrcnn_resnet50_fpn, size),
    "maskformer_resnet50": lambda _: maskformer(),
    "mask2former_resnet50": lambda _: mask2former(),
}


def scene(network: Network, size: int, batch: int) -> tuple[Tensor, list[Target]]:
    """Noise with `OBJECTS` squares in each image, as the view of the network has them."""
    side, classes = size // 8, len(network.view.classes)
    masks = torch.zeros(OBJECTS, size, size, dtype=torch.bool)
    boxes = []
    for k, mask in enumerate(masks):
        y, x = (2 * (k // 4) + 1) * 2 * side, 2 * (k % 4) * side
        mask[y : y + side, x : x + side] = True
        boxes.append([x, y, x + side, y + side])
    labels = torch.arange(OBJECTS) % classes
    target: Target = {
        "labels": labels,
        "masks": masks,
        "boxes": torch.tensor(boxes, dtype=torch.float32),
        "valid": torch.ones(size, size, dtype=torch.bool),
        "semantic": (masks * (labels + 1)[:, None, None]).sum(0) % classes,
    }
    return torch.randn(batch, 3, size, size), [target] * batch


def step(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.parameters(), 1e-6)  # small: the weights stay alike

    def run() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return run


def choose(device: torch.device, ours: bool) -> None:
    """On a GPU, choose kernels as our trainings do, or as torch does by default."""
    if device.type == "cuda" and ours:
        choose_kernels(device, training=True, one_size=True)
    elif device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.benchmark = False


def time_of(run: Callable[[], None], device: torch.device) -> float:
    """Processor seconds of a call, or seconds until a GPU has done it."""
    if device.type == "cpu":
        started = time.process_time()
        run()
        return time.process_time() - started
    torch.cuda.synchronize(device)
    started = time.perf_counter()
    run()
    torch.cuda.synchronize(device)
    return time.perf_counter() - started


def seconds(pair: Pair, size: int, batch: int, steps: int, precision: Precision) -> tuple[float, float]:
    """Medians of our steps and of theirs, on the device of the precision."""
    device = precision.device
    images, targets = scene(pair.ours, size, batch)
    images, targets = images.to(device), [precision.place_target(target) for target in targets]
    ours = precision.place_network(pair.ours).train()

    def our_loss() -> Tensor:
        with precision.autocast():
            return sum(loss.float() for loss in ours.losses(precision.place(images), targets).values())

    theirs = pair.theirs.to(device).train()
    runs = (step(ours, our_loss), step(theirs, lambda: pair.loss(theirs, images, targets)))
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(steps + 1):
        for run, times, own in zip(runs, taken, (True, False)):
            torch.manual_seed(number)
            choose(device, own)
            spent = time_of(run, device)
            if number:  # the first step warms up
                times.append(spent)
    return statistics.median(taken[0]), statistics.median(taken[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*PAIRS, []], default=[], metavar="NAME")
    for name, default in (("size", 128), ("batch", 2), ("threads", 1), ("steps", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--precision", choices=["fp32", "bf16", "auto"], default="fp32")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    precision = Precision.of(options.precision, torch.device("cpu"))
    print(f"| Network | Beside | Ours ({precision.name}) | Theirs (fp32) | Ours / theirs |")
    print("| --- | --- | ---: | ---: | ---: |")
    for name in options.names or PAIRS:
        torch.manual_seed(0)
        pair = PAIRS[name](options.size)
        ours, theirs = seconds(pair, options.size, options.batch, options.steps, precision)
        print(
            f"| `{name}` | {pair.library} | {ours:.2f} s | {theirs:.2f} s | {ours / theirs:.2f} |", flush=True
        )


if __name__ == "__main__":
    main()
