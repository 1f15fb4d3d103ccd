"""Optimizers by parameter group, and the learning rate as a function of the iteration."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from segbench.contract.recipe import Optimizer, Schedule
from segbench.errors import SegbenchError
from segbench.models.network import Network


def parameter_groups(network: Network, options: Optimizer) -> list[dict[str, Any]]:
    """Divide the parameters by learning rate and weight decay, as torch's optimizers take them.

    Args:
        network: its `backbone`, if it has one, learns at `lr * backbone_lr_factor`; a factor of 0 freezes it.
            With `layer_decay`, the rate also falls from layer to layer of the backbone.
            Parameters that `network.no_weight_decay()` names have no weight decay.
        options: if `no_decay_on_norm` is false, every parameter has weight decay.

    Returns:
        Groups with the keys `params`, `lr` and `weight_decay`, without the frozen parameters.

    Raises:
        SegbenchError: `no_weight_decay()` names a parameter that the network does not have.
    """
    excluded = network.no_weight_decay() if options.no_decay_on_norm else set()
    if unknown := excluded - {name for name, _ in network.named_parameters()}:
        raise SegbenchError(
            f"no_weight_decay() names {', '.join(sorted(unknown))}, which the network does not have",
            where=type(network).__name__,
            remedy="return names as in `named_parameters()`",
        )
    backbone = set(getattr(network, "backbone", nn.Module()).parameters())
    factors = layer_factors(network, options.layer_decay) if options.layer_decay < 1 else {}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        lr = options.lr * (options.backbone_lr_factor if parameter in backbone else 1.0)
        lr *= factors.get(name, 1.0)
        if lr == 0:
            parameter.requires_grad_(False)
        if parameter.requires_grad:
            decay = 0.0 if name in excluded else options.weight_decay
            groups.setdefault((lr, decay), []).append(parameter)
    return [{"params": p, "lr": lr, "weight_decay": decay} for (lr, decay), p in groups.items()]


def layer_factors(network: Network, decay: float) -> dict[str, float]:
    """Compute factors on the learning rate by layer of the backbone (Bao et al. 2021, BEiT, 2106.08254).

    Layers are numbered by timm's `group_matcher`, from the stem. The last one has the factor `decay`, each
    one before it `decay` times that of the next. Norms of the levels, which timm's model lacks, have none.

    Returns:
        Factor by name of the parameter.

    Raises:
        SegbenchError: the network has no timm backbone.
    """
    from timm.models import group_parameters  # takes a second

    factors: dict[str, float] = {}
    for path, module in network.named_modules():
        model: Any = getattr(getattr(module, "net", None), "model", None)
        if path.partition(".")[0] == "backbone" and hasattr(model, "group_matcher"):
            layers = group_parameters(model, model.group_matcher(coarse=False))
            for layer, names in layers.items():
                for name in names:
                    factors[f"{path}.net.model.{name}"] = decay ** (len(layers) - layer)
    if not factors:
        raise SegbenchError(
            f"{type(network).__name__} has no backbone whose layers are known",
            where="optimizer.layer_decay",
            remedy="remove it, or choose a timm backbone",
        )
    return factors


def build_optimizer(network: Network, options: Optimizer) -> torch.optim.Optimizer:
    """Build the optimizer of a recipe; each group has the initial learning rate as `initial_lr`."""
    groups = parameter_groups(network, options)
    for group in groups:
        group["initial_lr"] = group["lr"]
    if options.name == "sgd":
        return torch.optim.SGD(groups, momentum=options.momentum, fused=True)
    return torch.optim.AdamW(groups, fused=True)


def rate_factor(schedule: Schedule, iteration: int, iterations: int) -> float:
    """Compute the factor by which the learning rate of an iteration is multiplied.

    With t = iteration / iterations, poly is (1 - t)^power (Liu 2015), cosine is (1 + cos πt) / 2 (Loshchilov
    2017), and step multiplies by gamma at each milestone. Warm-up multiplies this by a factor that rises
    linearly from `warmup_factor` to 1.

    Args:
        schedule: name and parameters of the schedule.
        iteration: number of the iteration, from 0.
        iterations: total number of iterations.
    """
    t = iteration / iterations
    factor = {
        "poly": lambda: (1 - t) ** schedule.power,
        "cosine": lambda: (1 + math.cos(math.pi * t)) / 2,
        "step": lambda: schedule.gamma ** sum(t >= milestone for milestone in schedule.milestones),
        "constant": lambda: 1.0,
    }[schedule.name]()
    if iteration < schedule.warmup_iterations:
        done = iteration / schedule.warmup_iterations
        factor *= schedule.warmup_factor + (1 - schedule.warmup_factor) * done
    return factor


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set the learning rate of every group to `factor` times its initial one."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
