"""The training loop, one for all networks. It decides the weights.

`segbench.training.runner.train` runs it, and handles checkpoints, signals, history and results.
"""

from __future__ import annotations

import copy
import functools
import logging
import math
import operator
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import Subset

from segbench.contract.cell import CellSpec
from segbench.contract.prediction import Target
from segbench.copying import download, upload
from segbench.data.dataset import Dataset
from segbench.data.loading.class_weights import class_weights
from segbench.data.loading.copy_paste import PastedObjects
from segbench.data.loading.loader import (
    Batch,
    MicroBatches,
    SegmentationDataset,
    TrainingStream,
    collate,
    derived_seed,
    training_batches,
)
from segbench.data.loading.on_device import DeviceChanges
from segbench.data.loading.selection import images_with_objects
from segbench.data.loading.transforms import plain_transform, training_transform
from segbench.errors import SegbenchError
from segbench.fitting.fit import fitted
from segbench.fitting.situation import Derived
from segbench.models.network import Network, SemanticNetwork
from segbench.models.saved import Model, build_network, load_backbone_weights
from segbench.models.weights.public import (
    check_classes,
    copy_public_weights,
    public_network,
)
from segbench.models.weights.transfer import copy_trained_weights
from segbench.training import parallel
from segbench.training.compiling import compile_parts, compiled_step, uncompiled
from segbench.training.gradients import Compute, add_gradients, parts_of_step
from segbench.training.kernels import choose_kernels, deterministic_errors, varying_sizes
from segbench.training.optimizer import build_optimizer, rate_factor, set_rate
from segbench.training.precision import Precision
from segbench.training.randomness import random_state, seed_all, set_random_state

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """Whether the validation loss, or the negative metric (`select_by`), still falls."""

    lowest: float = math.inf
    """Lowest value so far."""
    waited: int = 0
    """Number of validations since."""

    def add(self, loss: float) -> None:
        """Count a validation."""
        self.waited = 0 if loss < self.lowest else self.waited + 1
        self.lowest = min(self.lowest, loss)


class Validated(NamedTuple):
    """What a validation has found."""

    loss: float
    """Mean total loss over the validation images."""
    score: float | None = None
    """The primary metric, if it is computed."""


class Training:
    """Hold the state of one cell's training and perform its steps; the same in every process."""

    def __init__(
        self, dataset_root: Path, spec: CellSpec, weights: Path | None, device: torch.device
    ) -> None:
        """Build the network with its initial weights, and the optimizer.

        Args:
            dataset_root: folder of the converted dataset.
            spec: cell to train.
            weights: file that the recipe's `pretrained`, `weights` or `init_from` names; None without these.
            device: device of this process.

        Raises:
            SegbenchError: the recipe requires weights and none are given, or they do not fit.
        """
        self.dataset = Dataset(dataset_root)
        self.info = self.dataset.info
        self.stated = spec
        self.spec, self.derived = self._fitted(spec)
        self.recipe = self.spec.recipe
        assert self.recipe.iterations is not None
        self.iterations = self.recipe.iterations
        self.view = self.dataset.view(spec.task)
        self.precision = Precision.of(self.recipe.precision, device)
        choose_kernels(
            device,
            training=True,
            one_size=self.recipe.augment.crop_size is not None,
            deterministic=self.recipe.deterministic,
        )
        seed_all(spec.seed)
        network = self.precision.place_network(self._first_network(weights))
        if self.recipe.sync_batch_norm:
            network = parallel.synchronised(network, device)
        self.network = network
        augment = self.recipe.augment
        self.changes = DeviceChanges(augment, self.info.mean, self.info.std) if augment.on_device else None
        self._weight_pixels()
        if self.recipe.compile:
            compile_parts(self.network, self.recipe.compile, spec.class_path)
        self.optimizer = build_optimizer(self.network, self.recipe.optimizer)
        self.scaler = self.precision.scaler()
        self.losses_in_step = parallel.losses_in_step(self.network)  # what is frozen takes no part
        if parallel.rank():
            seed_all(derived_seed(spec.seed, parallel.rank()))  # same initial weights, different dropout
        decay = self.recipe.ema
        self.average = (
            AveragedModel(self.network, multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay else None
        )
        self.iteration = 0
        self.best: dict[str, Any] | None = None
        self.progress = Progress()
        train = self.train_split = self.dataset.split("train")
        self.images = (
            images_with_objects(train, self.view) if self.recipe.skip_empty else range(len(train.images))
        )
        self.validation = self._validation_set()

    def _fitted(self, spec: CellSpec) -> tuple[CellSpec, list[Derived]]:
        found = fitted(spec, self.info.categories, self.info.statistics)
        for one in found.derived:
            log.info("%s: %s, by the rule '%s' (%s)", *one)
        return found.spec, found.derived

    def state(self) -> dict[str, Any]:
        """Return all state that a training needs to continue bit for bit.

        Every process must call this, since the random states are collected from all of them. The position of
        the loader follows from the iteration.
        """
        return {
            "iteration": self.iteration,
            "weights": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": parallel.gathered(random_state(self.precision.device)),
            "best": self.best,
            "average": self.average and self.average.state_dict(),
            "lowest": self.progress.lowest,
            "waited": self.progress.waited,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a return value of `state`.

        Raises:
            KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError: `state` does not fit.
        """
        self.network.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        set_random_state(state["random"][parallel.rank()], self.precision.device)
        self.iteration = operator.index(state["iteration"])
        self.best = state["best"] and {**state["best"]}
        if self.average:
            self.average.load_state_dict(state["average"])
        self.progress = Progress(state["lowest"], operator.index(state["waited"]))

    @property
    def weights(self) -> dict[str, Tensor]:
        """State dict to predict with: the best one if the recipe selects it, else the last one."""
        return self.best["weights"] if self.best else self._last_weights

    @property
    def _last_weights(self) -> dict[str, Tensor]:
        """The average of the weights if the recipe keeps one, else the current weights."""
        return (self.average.module if self.average else self.network).state_dict()

    @property
    def done(self) -> bool:
        """Whether all iterations are done, or the validation loss has not fallen for too long."""
        patience = self.recipe.patience
        waited = patience is not None and self.progress.waited >= patience
        return waited or self.iteration >= self.iterations

    def batches(self, workers: int) -> Iterator[Batch]:
        """Yield training batches from the current iteration on.

        Args:
            workers: number of loader processes; it does not change the batches.
        """
        recipe = self.recipe
        transform = training_transform(recipe.augment, self.info.mean, self.info.std)
        images = Subset(
            SegmentationDataset(self.train_split, self.view, transform, recipe.border_weights, self.changes),
            self.images,
        )
        paste = recipe.augment.copy_paste
        positions = MicroBatches(
            self.iterations,
            recipe.batch_size,
            recipe.accumulate,
            start=self.iteration,
            share=(parallel.rank(), parallel.size()),
        )
        return training_batches(
            TrainingStream(PastedObjects(images, self.view, paste) if paste else images, self.spec.seed),
            positions,
            workers=workers,
            pin_memory=self.precision.device.type != "cpu",
        )

    def step(self, batches: Iterator[Batch]) -> dict[str, Any]:
        """Make one optimizer step over the whole batch, in `accumulate` parts.

        Returns:
            Row of the history: iteration (from 1), epoch, lr, each loss, their total, gradient norm before
            clipping, images per second. With fp16, the norm is not finite where scaled gradients overflow;
            the weights then stay, and the scale is halved.

        Raises:
            SegbenchError: a loss is not finite, the gradient norm is not finite without scaling, or a norm
                layer gets a single value.
        """
        started = time.monotonic()
        factor = rate_factor(self.recipe.schedule, self.iteration, self.iterations)
        set_rate(self.optimizer, factor)
        self.optimizer.zero_grad(set_to_none=True)
        seed = derived_seed(self.spec.seed, self.iteration)
        where = f"training {self.spec.class_path}"
        with deterministic_errors(where), compiled_step(self.recipe.compile, where):
            sums = add_gradients(
                self.network,
                functools.partial(self._losses, self.losses_in_step),
                [next(batches) for _ in range(self.recipe.accumulate)],
                parts_of_step(self.recipe.batch_size, self.recipe.accumulate, seed),
                functools.partial(self._losses, self.network.losses),
                functools.partial(parallel.without_exchange, self.losses_in_step),
                self.scaler.scale,
            )
        parallel.average_statistics(self.network)
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(
            [p for group in self.optimizer.param_groups for p in group["params"]],
            self.recipe.clip_norm or math.inf,
        )
        totals = parallel.summed(torch.stack([*sums.values()]))
        *values, grad_norm = torch.stack([*totals, norm.float()]).tolist()  # one transfer from the device
        named = {f"loss_{name}": value for name, value in zip(sums, values)}
        skips = self._skips(grad_norm)
        self._check_finite(named if skips else named | {"gradient norm": grad_norm})
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average and not skips:
            self.average.update_parameters(self.network)
        self.iteration += 1
        return {
            "iteration": self.iteration,
            "epoch": round(self.iteration * self.recipe.batch_size / len(self.images), 4),
            "lr": self.recipe.optimizer.lr * factor,
            **named,
            "total": sum(values),
            "grad_norm": grad_norm,
            "images_per_second": round(self.recipe.batch_size / (time.monotonic() - started), 3),
        }

    def _losses(self, compute: Compute, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        if self.changes and "changes" in targets[0]:  # validation images are not changed
            images = self.changes(upload(images, self.precision.device), targets)
        images = self.precision.place(images)
        try:
            with self.precision.autocast():
                return compute(images, [self.precision.place_target(t) for t in targets])
        except ValueError as error:
            if "Expected more than 1" not in str(error):
                raise
            height, width = images.shape[-2:]
            raise SegbenchError(
                f"a layer cannot normalise over a single value ({error}): it saw {len(images)} of the"
                f" {self.recipe.batch_size} images of a step, at {height} x {width} pixels",
                where=f"training {self.spec.class_path}",
                remedy="set recipe.batch_size to 2 x accumulate x gpus or more, or a larger augment.crop",
            ) from error

    def _skips(self, grad_norm: float) -> bool:
        """Return whether the scaler skips this step: gradients overflow, and a lower scale may help."""
        if math.isfinite(grad_norm) or not self.scaler.is_enabled():
            return False
        scale = self.scaler.get_scale()
        if scale > 1:
            where = f"iteration {self.iteration + 1} of {self.iterations}"
            log.info(
                "%s: gradients overflow fp16 at the scale %g; skipped, and the scale halved", where, scale
            )
        return scale > 1

    def _check_finite(self, values: dict[str, float]) -> None:
        bad = {name: value for name, value in values.items() if not math.isfinite(value)}
        if bad:
            what = ", ".join(f"{name} is {value}" for name, value in bad.items())
            raise SegbenchError(
                f"{what} at iteration {self.iteration + 1} of {self.iterations}",
                where=f"training {self.spec.class_path}",
                remedy="lower optimizer.lr, lengthen the warm-up, set clip_norm, or use precision: fp32",
            )

    def train_mode(self) -> None:
        """Set the network to training mode, except for a frozen backbone."""
        self.network.train()
        backbone = getattr(self.network, "backbone", None)
        if self.recipe.optimizer.backbone_lr_factor == 0 and backbone is not None:
            backbone.eval()  # keeps the running statistics of a frozen backbone

    def _validation_set(self) -> SegmentationDataset | None:
        if self.recipe.validate_every is None:
            return None
        name = self.info.validation_split
        if name is None:
            log.warning("%s has no validation split; the last weights are used", self.info.name)
            return None
        transform = plain_transform(self.info.mean, self.info.std)
        split = self.dataset.split(name)
        return SegmentationDataset(split, self.view, transform, self.recipe.border_weights)

    def validation_due(self) -> bool:
        """Return whether the current iteration is followed by a validation."""
        every = self.recipe.validate_every
        last = self.iteration == self.iterations
        return self.validation is not None and every is not None and (last or self.iteration % every == 0)

    @torch.no_grad()
    @varying_sizes()
    def validate(
        self,
        stopped: Callable[[], bool],
        measure: Callable[[Model, Callable[[], bool]], float | None] | None = None,
    ) -> Validated | None:
        """Compute the mean total loss over the validation images, and the primary metric.

        The average of the weights is validated if there is one. With `select: best`, the best weights so far
        are kept.

        Args:
            stopped: returns whether this process was told to stop.
            measure: computes the metric of a network, or returns None if any process was told to stop.

        Returns:
            Loss and metric, or None if any process was told to stop before the end.
        """
        assert self.validation is not None
        state = random_state(self.precision.device)
        seed_all(self.spec.seed)
        current = {n: v.clone() for n, v in self.network.state_dict().items()} if self.average else None
        if current:
            self.network.load_state_dict(self._last_weights)
        self.network.eval()
        total = torch.zeros((), dtype=torch.float64, device=self.precision.device)
        for i in range(parallel.rank(), len(self.validation), parallel.size()):
            if stopped():
                break
            batch = collate([self.validation[i]])
            assert isinstance(batch, tuple)
            with uncompiled(self.recipe.compile):
                losses = self._losses(self.network.losses, *batch)
            loss = functools.reduce(operator.add, (one.float() for one in losses.values()))
            total += loss  # read once, at the end: each reading waits for the device
        stop = parallel.any_of(stopped())[0]
        score = measure(self._copied_model(), stopped) if measure and not stop else None
        if current:
            self.network.load_state_dict(current)
        self.train_mode()
        set_random_state(state, self.precision.device)
        if stop or (measure and score is None):
            return None
        found = Validated(parallel.summed(total).item() / len(self.validation), score)
        self.keep_if_best(found)
        return found

    def _copied_model(self) -> Model:
        """Return a copy of the network: what a prediction leaves in it must not reach the training."""
        info = self.info
        network = copy.deepcopy(self.network)
        return Model(network, self.spec, "", info.name, info.mean, info.std, info.levels)

    def keep_if_best(self, found: Validated) -> None:
        """Count a validation, and keep the current weights if the recipe selects the best and these are."""
        if self.recipe.select_by == "loss":
            loss = found.loss
        else:  # an undefined score is never the best
            loss = math.inf if found.score is None or math.isnan(found.score) else -found.score
        self.progress.add(loss)
        if self.recipe.select == "best" and (self.best is None or loss < self.best["loss"]):
            last = self._last_weights
            weights = {name: value.clone() for name, value in zip(last, download(last.values()))}
            self.best = {"loss": loss, "iteration": self.iteration, "weights": weights}

    def _weight_pixels(self) -> None:
        """Give the network its class weights, and check that it can weight classes and borders."""
        classes, borders = self.recipe.class_weights, self.recipe.border_weights
        for name, used in {"class_weights": classes != "none", "border_weights": bool(borders)}.items():
            fits = isinstance(self.network, SemanticNetwork) and "cross_entropy" in self.network.loss_weights
            softmax = getattr(self.network, "activation", None) == "softmax"
            if used and not (fits and (softmax or name == "border_weights")):
                raise SegbenchError(
                    "needs a semantic network with the loss cross_entropy"
                    + (" and a softmax" if name == "class_weights" else ""),
                    where=f"{name} of {self.spec.class_path}",
                    remedy="remove it from the recipe, or choose another network",
                )
        if borders and "instance" not in self.info.tasks:
            raise SegbenchError(
                f"{self.info.name} has no masks of objects",
                where="border_weights",
                remedy="remove it from the recipe, or choose a dataset with objects",
            )
        if classes != "none":
            weights = class_weights(classes, self.dataset.split("train"), self.view)
            names = (c.name for c in self.view.classes)
            log.info("class weights: %s", ", ".join(f"{n} {w:.4g}" for n, w in zip(names, weights)))
            self.network.class_weights = upload(weights, self.precision.device)

    def _first_network(self, weights: Path | None) -> Network:
        """Build the network with random weights, a pretrained backbone, or public or trained weights."""
        wanted = self.recipe.init_from or self.recipe.weights or self.recipe.pretrained
        if not wanted:
            return build_network(self.spec, self.view, self.info.channels)
        if weights is None:
            raise SegbenchError(
                f"requires the weights '{wanted}'; none are given",
                where="recipe",
                remedy="give --weights, or remove `pretrained`, `weights` and `init_from`",
            )
        if self.recipe.init_from:
            network = build_network(self.spec, self.view, self.info.channels)
            copy_trained_weights(network, self.spec, weights)
            return network
        if not self.recipe.weights:
            network = build_network(self.spec, self.view, self.info.channels)
            network.load_backbone(load_backbone_weights(weights))
            return network
        public, made = public_network(self.spec, self.view, self.info.channels, weights)
        if len(made.mean) == self.info.channels:
            self.info = self.info.model_copy(update={"mean": made.mean, "std": made.std})
        if not self.iterations:
            check_classes(made.classes, self.view, weights)
            self.view = public.view
            return public
        network = build_network(self.spec, self.view, self.info.channels)
        copy_public_weights(network, public, self.spec)
        return network
