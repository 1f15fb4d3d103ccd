"""The gradient of a batch is the same in one part, in four parts, and in two processes."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
import torch.distributed as dist
from fork_server import CONTEXT
from network_tester import batch, empty_target, make_view
from torch import Tensor, nn

from segbench.contract.prediction import IGNORE
from segbench.models.blendmask import BlendMask
from segbench.models.deeplabv3 import DeepLabV3
from segbench.models.deeplabv3plus import DeepLabV3Plus
from segbench.models.dilated import DilatedFCN
from segbench.models.faster_rcnn import FasterRCNN
from segbench.models.fcn import FCN
from segbench.models.htc import HTC
from segbench.models.linknet import LinkNet
from segbench.models.mask2former import Mask2Former
from segbench.models.mask_rcnn import MaskRCNN
from segbench.models.maskformer import MaskFormer
from segbench.models.network import Network
from segbench.models.panoptic_deeplab import PanopticDeepLab
from segbench.models.pspnet import PSPNet
from segbench.models.solo import SOLO, SOLOv2
from segbench.models.unet import UNet
from segbench.training import parallel
from segbench.training.gradients import add_gradients, parts_of_step

SIZE = (64, 64)
DILATED = {"channels": 8}
PYRAMID = {"fpn_channels": 8}
RCNN = PYRAMID | {
    "box_channels": 8,
    "anchor_sizes": [8, 16, 32, 64, 128],
    "rois_per_image": 24,
    "proposals_training": 50,
}
MASKS = {"hidden_dim": 32, "queries": 5, "decoder_layers": 2, "decoder_feedforward": 16}
LOSS = {"cross_entropy": 1.0, "dice": 1.0}
CASES: list[tuple[type[Network], str, dict[str, Any]]] = [
    (FCN, "semantic", {}),
    (DilatedFCN, "semantic", {}),
    (DeepLabV3, "semantic", DILATED),
    (DeepLabV3Plus, "semantic", DILATED | {"loss": {"ohem": 1.0}}),
    (PSPNet, "semantic", DILATED),
    (LinkNet, "semantic", {"loss": LOSS}),
    (UNet, "semantic", {"widths": [4, 4, 4, 8, 8], "loss": LOSS, "activation": "sigmoid"}),
    (
        UNet,
        "semantic",
        {"widths": [4, 4, 4, 8, 8], "fusion": "branches", "modality_dropout": 0.5, "backbone": None},
    ),
    (FasterRCNN, "detection", RCNN),
    (MaskRCNN, "instance", RCNN | {"mask_channels": 8}),
    (HTC, "panoptic", RCNN | {"mask_channels": 8}),
    (MaskFormer, "panoptic", MASKS),
    (
        Mask2Former,
        "panoptic",
        MASKS | {"encoder_layers": 1, "encoder_feedforward": 16, "loss": {"points": 64}},
    ),
    (SOLO, "instance", PYRAMID | {"head_channels": 32}),
    (SOLOv2, "instance", PYRAMID | {"head_channels": 32, "mask_channels": 32, "kernel_channels": 32}),
    (BlendMask, "instance", {"fpn_channels": 32, "base_channels": 8}),
    (PanopticDeepLab, "panoptic", {"channels": 8, "instance_channels": 8}),
]
SINGLE = (FasterRCNN, HTC, PanopticDeepLab)
"""Networks that compute in fp32 here, as their heads always do; the others in fp64."""
NAMES = [f"{network.__name__}-{i}" for i, (network, _, _) in enumerate(CASES)]


def images_of(task: str) -> tuple[Tensor, list[dict[str, Any]]]:
    """Six images with unequal numbers of objects and labelled pixels; one has none of them."""
    images, targets = batch(task, 6, SIZE)
    for i, target in enumerate(targets[1:4]):
        if task == "semantic":
            target["semantic"][: 20 * i] = IGNORE
        elif task != "panoptic":
            for key in {"labels", "masks", "boxes"} & target.keys():
                target[key] = target[key][: i + 1]
        if "valid" in target:
            target["valid"][: 20 * i] = False
    targets[5] = empty_target(task, SIZE, void=task != "panoptic")
    return images, targets


def gradients(case: int, accumulate: int) -> tuple[dict[str, float], Tensor]:
    """Losses and gradients of this process's parts, without the statistics of batch norms and dropout."""
    kind, task, options = CASES[case]
    torch.manual_seed(0)
    dtype = torch.float32 if issubclass(kind, SINGLE) else torch.float64
    network = kind(make_view(task), 3, **({"backbone": "test_resnet"} | options)).to(dtype).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.Dropout | nn.Dropout2d | nn.MultiheadAttention):
            module.eval()
    images, targets = images_of(task)
    images = images.to(dtype)
    parts = parts_of_step(len(images), accumulate, seed=1)
    sizes = torch.tensor_split(torch.arange(len(images)), accumulate * parallel.size())
    own = sizes[parallel.rank() :: parallel.size()]
    batches = [(images[i], [targets[k] for k in i]) for i in own]
    compute = parallel.losses_in_step(network)
    alone = functools.partial(parallel.without_exchange, compute)
    losses = add_gradients(network, compute, batches, parts, network.losses, alone)
    if network.uses_all_parameters:
        assert all(p.grad is not None for p in network.parameters())
    found = [p.grad if p.grad is not None else torch.zeros_like(p) for p in network.parameters()]
    return (
        {k: float(parallel.summed(v.double())) for k, v in losses.items()},
        torch.cat([g.flatten() for g in found]),
    )


@functools.cache
def whole(case: int) -> tuple[dict[str, float], Tensor]:
    return gradients(case, 1)


def check(case: int, losses: dict[str, float], gradient: Tensor) -> None:
    expected_losses, expected = whole(case)
    assert losses == pytest.approx(expected_losses, rel=1e-5, abs=1e-9)
    assert float((gradient - expected).norm()) <= 1e-5 * float(expected.norm())


@pytest.mark.parametrize("case", range(len(CASES)), ids=NAMES)
def test_four_parts_have_the_gradient_of_one(case: int) -> None:
    check(case, *gradients(case, 4))


def in_process(rank: int, address: str, runs: list[tuple[int, int]], results: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    for case, accumulate in runs:
        found = gradients(case, accumulate)
        if rank == 0:
            results.put((case, found[0], found[1].numpy()))
    dist.destroy_process_group()


QUICK = [i for i, (kind, _, _) in enumerate(CASES) if kind in (DeepLabV3Plus, MaskRCNN, Mask2Former)]
"""Between them, they count before and after the network, sum and gather, and draw."""


@pytest.mark.parametrize(
    "runs",
    [
        [(case, accumulate) for case in QUICK for accumulate in (1, 2)],
        pytest.param([(case, 1) for case in range(len(CASES)) if case not in QUICK], marks=pytest.mark.slow),
    ],
    ids=["quick", "others"],
)
def test_two_processes_have_the_gradient_of_one(tmp_path, runs) -> None:
    results = CONTEXT.Queue()
    address = f"file://{tmp_path}/meeting"
    processes = [CONTEXT.Process(target=in_process, args=(rank, address, runs, results)) for rank in (0, 1)]
    for process in processes:
        process.start()
    found = [results.get(timeout=300) for _ in runs]
    for process in processes:
        process.join()
    for case, losses, gradient in found:
        check(case, losses, torch.from_numpy(gradient))
