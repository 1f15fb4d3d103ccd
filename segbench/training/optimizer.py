"""Optimizers by parameter group, and the learning rate as a function of the iteration."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from segbench.recipe import Optimizer, Schedule


def parameter_groups(network: nn.Module, options: Optimizer) -> list[dict[str, Any]]:
    """Groups that differ in `lr` (`network.backbone` or not) and `weight_decay`; without frozen parameters.

    "No decay on norm" spares all vectors and scalars: scales and shifts of normalisations, and biases.
    """
    backbone = set(getattr(network, "backbone", nn.Module()).parameters())
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        lr = options.lr * (options.backbone_lr_factor if parameter in backbone else 1.0)
        if lr == 0:
            parameter.requires_grad_(False)
        if parameter.requires_grad:
            spared = options.no_decay_on_norm and parameter.ndim <= 1
            groups.setdefault((lr, 0.0 if spared else options.weight_decay), []).append(parameter)
    return [{"params": p, "lr": lr, "weight_decay": decay} for (lr, decay), p in groups.items()]


def build_optimizer(network: nn.Module, options: Optimizer) -> torch.optim.Optimizer:
    groups = parameter_groups(network, options)
    for group in groups:
        group["initial_lr"] = group["lr"]
    if options.name == "sgd":
        return torch.optim.SGD(groups, momentum=options.momentum, fused=True)
    return torch.optim.AdamW(groups, fused=True)


def rate_factor(schedule: Schedule, iteration: int, iterations: int) -> float:
    """What the learning rate of `iteration` (from 0) is multiplied by.

    poly: (1 - t)^power (Liu 2015); cosine: (1 + cos πt) / 2 (Loshchilov 2017); step: gamma at each milestone;
    t = iteration / iterations. Warm-up multiplies that by a line from `warmup_factor` to 1.
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
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
