"""The training loop, one for all networks.

In the folder of the cell, until its predictions are made (`segbench.training.checkpoint.forget`):
    checkpoint.pt          exact state; a training that finds its own goes on from there
    history.partial.csv    a row an iteration
and when it is done:
    model.pt               weights, specification, classes, normalisation
    history.csv            iteration, epoch, lr, loss_<name>, total, grad_norm, validation, seconds, ...
    training.json          time, memory, speed, and where and from what it was made
The first two are no outputs of the workflow, which deletes those of a job that failed, and of one that ended
while the workflow was not there to see it: such a training is repeated, from its end.
"""

from __future__ import annotations

import hashlib
import logging
import math
import operator
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segbench.data.dataset import Dataset
from segbench.data.loader import (
    Batch,
    MicroBatches,
    SegmentationDataset,
    TrainingStream,
    collate,
    derived_seed,
    training_batches,
)
from segbench.data.transforms import plain_transform, training_transform
from segbench.errors import SegbenchError
from segbench.files import atomic_path, read_json, write_json
from segbench.fingerprint import fingerprint
from segbench.locks import alone_in
from segbench.models.network import Network
from segbench.training import parallel
from segbench.training.checkpoint import (
    CHECKPOINT,
    HISTORY,
    load_checkpoint,
    random_state,
    save_checkpoint,
    seed_all,
    set_random_state,
    weights_digest,
)
from segbench.training.history import History
from segbench.training.lease import leased
from segbench.training.model import build_network, load_backbone_weights, save_model
from segbench.training.optimizer import build_optimizer, rate_factor, set_rate
from segbench.training.precision import Precision, memory_errors, pick_device
from segbench.training.progress import TrainingProgress
from segbench.training.provenance import peak_memory, provenance, sha256
from segbench.training.signals import StopSignals, handling
from segbench.training.spec import CellSpec
from segbench.training.start import check_classes, continue_from, public_network, take_over

log = logging.getLogger(__name__)


def train(
    dataset_root: Path,
    spec: CellSpec,
    out: Path,
    *,
    weights: Path | None = None,
    workers: int = 0,
    threads: int | None = None,
    device: str = "auto",
    checkpoint_every: float = 60.0,
    stop_at: float | None = None,
) -> None:
    """Train one cell into `out`, going on from its checkpoint where there is one.

    `weights`: state dict of the backbone, where the recipe asks for a pretrained one. `workers` never changes
    the result, `threads` (of all processes together) can, in the last bits. `checkpoint_every` is in seconds,
    `stop_at` the Unix time of a limit, before which the training stops.
    Raises SegbenchError (a loss that is not finite, OutOfMemory, bad data); after SIGTERM, SIGUSR1 or near
    a limit, SystemExit with status 75 once a checkpoint is written: the same call goes on from there;
    OSError where the disk is full: the checkpoint before that stays.
    """
    dataset_root, out = Path(dataset_root), Path(out)
    with alone_in(out) as waited:
        if waited and _is_done(out, spec, sources(dataset_root, spec, weights), device):
            log.info("%s: the other process has trained this", out)
            return
        with leased(device, spec.recipe.gpus) as devices:
            options = (weights, workers, threads, checkpoint_every, stop_at)
            parallel.run_on(devices, _train, dataset_root, spec, out, *options)


def sources(dataset_root: Path, spec: CellSpec, weights: Path | None) -> dict[str, Any]:
    """Checksums of all that a training is made from, beside its specification."""
    return {
        "data": sha256(dataset_root / "dataset.json"),
        "archives": Dataset(dataset_root).info.archives,
        "weights": sha256(weights) if weights else None,
        "code": fingerprint("segbench.training.train", spec.class_path.partition(":")[0]),
    }


def identity(spec: CellSpec, sources: dict[str, Any], precision: str) -> str:
    """The same for trainings that end in the same weights. `precision`: bf16 or fp32, never auto."""
    return hashlib.sha256(f"{spec.model_dump_json()} {sources} {precision}".encode()).hexdigest()


def _is_done(out: Path, spec: CellSpec, sources: dict[str, Any], device: str) -> bool:
    results = out / "training.json"
    if not results.exists() or not (out / "model.pt").exists():
        return False
    precision = Precision.of(spec.recipe.precision, pick_device(device)).name
    return bool(read_json(results)["identity"] == identity(spec, sources, precision))


def _train(
    device: torch.device,
    dataset_root: Path,
    spec: CellSpec,
    out: Path,
    weights: Path | None,
    workers: int,
    threads: int | None,
    checkpoint_every: float,
    stop_at: float | None,
) -> None:
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if threads:
        torch.set_num_threads(max(1, threads // parallel.size()))
    stop = StopSignals(stop_at)
    remedy = "use a smaller batch_size or crop, more accumulate, or a device with more memory"
    with handling(stop.receive), memory_errors(f"training {spec.class_path}", remedy):
        training = Training(dataset_root, spec, out, weights, device)
        if spec.recipe.iterations:
            training.run(stop, workers, checkpoint_every)
        if parallel.rank() == 0:
            training.finish()


class Training:
    """One cell's training: its state, a step, and what is written; the same in every process of a group."""

    def __init__(
        self, dataset_root: Path, spec: CellSpec, out: Path, weights: Path | None, device: torch.device
    ) -> None:
        self.spec, self.recipe, self.out = spec, spec.recipe, out
        self.checkpoint_path, self.history_path = out / CHECKPOINT, out / HISTORY
        self.dataset = Dataset(dataset_root)
        self.info = self.dataset.info
        self.view = self.dataset.view(spec.task)
        self.sources = sources(dataset_root, spec, weights)
        self.precision = Precision.of(self.recipe.precision, device)
        self.identity = identity(spec, self.sources, self.precision.name)
        # order of sums fixed where torch offers it; operations that have no such form only warn
        torch.use_deterministic_algorithms(device.type == "cpu", warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        seed_all(spec.seed)
        self.network = self.precision.place_network(self._first_network(weights))
        self.losses_in_step = parallel.losses_in_step(self.network)
        if parallel.rank():
            seed_all(derived_seed(spec.seed, parallel.rank()))  # the first weights are alike, dropout is not
        self.optimizer = build_optimizer(self.network, self.recipe.optimizer)
        self.iteration, self.seconds, self.memory = 0, 0.0, 0
        self.best: dict[str, Any] | None = None
        self.row: dict[str, Any] | None = None  # of an iteration whose validation is still to be done
        self.validation = self._validation_set()
        self._resume()
        log.info(
            "%d images a step, in %d x %d parts (processes x accumulate); learning rate %g",
            *(self.recipe.batch_size, parallel.size(), self.recipe.accumulate, self.recipe.optimizer.lr),
        )

    def _first_network(self, weights: Path | None) -> Network:
        """Random, with a pretrained backbone, public, or with the weights of another cell."""
        wanted = self.recipe.init_from or self.recipe.weights or self.recipe.pretrained
        if not wanted:
            return build_network(self.spec, self.view, self.info.channels)
        if weights is None:
            raise SegbenchError(
                f"asks for the weights '{wanted}'; none are given",
                where="recipe",
                remedy="give --weights, or leave `pretrained`, `weights` and `init_from` out",
            )
        if self.recipe.init_from:
            network = build_network(self.spec, self.view, self.info.channels)
            continue_from(network, weights)
            return network
        if not self.recipe.weights:
            network = build_network(self.spec, self.view, self.info.channels)
            network.load_backbone(load_backbone_weights(weights))
            return network
        public, made = public_network(self.spec, self.view, self.info.channels, weights)
        self.info = self.info.model_copy(update={"mean": made.mean, "std": made.std})
        if not self.recipe.iterations:
            check_classes(made.classes, self.view, weights)
            self.view = public.view
            return public
        network = build_network(self.spec, self.view, self.info.channels)
        take_over(network, public, self.spec)
        return network

    def run(self, signals: StopSignals, workers: int, checkpoint_every: float) -> None:
        """All iterations that are left."""
        recipe = self.recipe
        transform = training_transform(recipe.augment, self.info.mean, self.info.std)
        images = SegmentationDataset(self.dataset.split("train"), self.view, transform)
        positions = MicroBatches(
            recipe.iterations,
            recipe.batch_size,
            recipe.accumulate,
            start=self.iteration,
            share=(parallel.rank(), parallel.size()),
        )
        batches = training_batches(
            TrainingStream(images, self.spec.seed),
            positions,
            workers=workers,
            pin_memory=self.precision.device.type == "cuda",
        )
        began = saved = time.monotonic()
        seconds_before = self.seconds
        self._train_mode()
        writes = parallel.rank() == 0
        with (
            closing(History(self.history_path, self.iteration)) if writes else nullcontext() as history,
            TrainingProgress(self.iteration, recipe.iterations) as progress,
        ):
            while self.row or self.iteration < recipe.iterations:
                row = self.row = self.row or self._step(batches)
                row["validation"] = self._validate(signals) if self._validation_due() else None
                self.row = None
                self.seconds = seconds_before + time.monotonic() - began
                if history:
                    history.append(row | {"seconds": round(self.seconds, 3)})
                    progress.show(self.iteration, row["total"], row["images_per_second"])
                due = time.monotonic() - saved >= checkpoint_every
                stop, save = parallel.any_of(bool(signals.received), due)
                if stop:
                    self._stop(signals)
                if save:
                    self._checkpoint()
                    saved = time.monotonic()
        self._checkpoint()

    def finish(self) -> None:
        """Write the results; the checkpoint goes last, so that a kill in between loses nothing."""
        weights = self.best["weights"] if self.best else self.network.state_dict()
        images = self.recipe.iterations * self.recipe.batch_size
        trained = bool(self.recipe.iterations)
        if trained:
            with atomic_path(self.out / "history.csv") as partial:
                shutil.copyfile(self.history_path, partial)
        write_json(
            self.out / "training.json",
            {
                "parameters": sum(p.numel() for p in self.network.parameters()),
                "iterations": self.recipe.iterations,
                "gpus": self.recipe.gpus,
                "crop": self.recipe.augment.crop,
                "images": images,
                "selected_iteration": self.best["iteration"] if self.best else self.iteration,
                "seconds": self.seconds if trained else None,
                "images_per_second": images / self.seconds if trained else None,
                "peak_memory": self._peak_memory(),
                "precision": self.precision.name,
                "weights_digest": weights_digest(weights),
                "sources": self.sources,
                "identity": self.identity,
                **provenance(self.precision.device),
            },
        )
        save_model(self.out / "model.pt", self.spec, self.view, self.info, self.identity, weights)

    def _step(self, batches: Iterator[Batch]) -> dict[str, Any]:
        """One optimizer step over the whole batch, in `accumulate` parts. Returns its row of the history."""
        started = time.monotonic()
        factor = rate_factor(self.recipe.schedule, self.iteration, self.recipe.iterations)
        set_rate(self.optimizer, factor)
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.precision.device))
        for _ in range(self.recipe.accumulate):
            images, targets = next(batches)
            losses = self._losses(images, targets)
            share = len(targets) / self.recipe.batch_size
            # gradients become averages over the processes, and must be sums
            weight = share * parallel.size()
            (torch.stack([loss.float() for loss in losses.values()]).sum() * weight).backward()
            for name, loss in losses.items():
                sums[name] += loss.detach() * share
        norm = torch.nn.utils.clip_grad_norm_(
            [p for group in self.optimizer.param_groups for p in group["params"]],
            self.recipe.clip_norm or math.inf,
        )
        totals = parallel.summed(torch.stack([*sums.values()]))
        *values, grad_norm = torch.stack([*totals, norm.float()]).tolist()  # waits for the device once
        named = {f"loss_{name}": value for name, value in zip(sums, values)}
        self._check_finite(named | {"gradient norm": grad_norm})
        self.optimizer.step()
        self.iteration += 1
        return {
            "iteration": self.iteration,
            "epoch": round(self.iteration * self.recipe.batch_size / self.info.splits["train"], 4),
            "lr": self.recipe.optimizer.lr * factor,
            **named,
            "total": sum(values),
            "grad_norm": grad_norm,
            "images_per_second": round(self.recipe.batch_size / (time.monotonic() - started), 3),
        }

    def _losses(self, images: Tensor, targets: list[dict[str, Any]]) -> dict[str, Tensor]:
        images = self.precision.place(images)
        compute = self.losses_in_step if self.network.training else self.network.losses
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

    def _check_finite(self, values: dict[str, float]) -> None:
        bad = {name: value for name, value in values.items() if not math.isfinite(value)}
        if bad:
            what = ", ".join(f"{name} is {value}" for name, value in bad.items())
            raise SegbenchError(
                f"{what} at iteration {self.iteration + 1} of {self.recipe.iterations}",
                where=f"training {self.spec.class_path}",
                remedy="lower optimizer.lr, lengthen the warm-up, set clip_norm, or use precision: fp32",
            )

    def _train_mode(self) -> None:
        self.network.train()
        backbone = getattr(self.network, "backbone", None)
        if self.recipe.optimizer.backbone_lr_factor == 0 and backbone is not None:
            backbone.eval()  # frozen: its running statistics stay too

    def _validation_set(self) -> SegmentationDataset | None:
        if self.recipe.validate_every is None:
            return None
        name = self.info.validation_split
        if name is None:
            log.warning("%s has no split for validation: the last weights count", self.info.name)
            return None
        transform = plain_transform(self.info.mean, self.info.std)
        return SegmentationDataset(self.dataset.split(name), self.view, transform)

    def _validation_due(self) -> bool:
        every = self.recipe.validate_every
        last = self.iteration == self.recipe.iterations
        return self.validation is not None and every is not None and (last or self.iteration % every == 0)

    @torch.no_grad()
    def _validate(self, signals: StopSignals) -> float:
        """Mean total loss of the validation images; keeps the best weights where they are selected."""
        assert self.validation is not None
        state = random_state(self.precision.device)
        seed_all(self.spec.seed)
        self.network.eval()
        total = 0.0
        for i in range(parallel.rank(), len(self.validation), parallel.size()):
            if signals.received:
                break
            batch = collate([self.validation[i]])
            assert isinstance(batch, tuple)
            total += float(sum(loss.float() for loss in self._losses(*batch).values()))
        self._train_mode()
        set_random_state(state, self.precision.device)
        if parallel.any_of(bool(signals.received))[0]:
            self._stop(signals)
        loss = parallel.summed(torch.tensor(total, dtype=torch.float64)).item() / len(self.validation)
        if self.recipe.select == "best" and (self.best is None or loss < self.best["loss"]):
            weights = {name: value.cpu().clone() for name, value in self.network.state_dict().items()}
            self.best = {"loss": loss, "iteration": self.iteration, "weights": weights}
        return loss

    def _stop(self, signals: StopSignals) -> None:
        self._checkpoint()
        parallel.barrier()  # the first process that ends takes the others with it
        reason = signals.received or "another process is to stop"
        log.info("%s: stopped after iteration %d; run again to go on", reason, self.iteration)
        raise SystemExit(os.EX_TEMPFAIL)

    def _checkpoint(self) -> None:
        states = parallel.gathered(random_state(self.precision.device))
        if parallel.rank():
            return
        save_checkpoint(
            self.checkpoint_path,
            {
                "identity": self.identity,
                "precision": self.precision.name,
                "iteration": self.iteration,  # the loader's position follows from it
                "seconds": self.seconds,
                "memory": self._peak_memory(),
                "weights": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "random": states,
                "best": self.best,
                "row": self.row,
            },
        )

    def _resume(self) -> None:
        state = load_checkpoint(self.checkpoint_path, self.identity, self.precision.name)
        if state is None:
            return
        try:
            self.network.load_state_dict(state["weights"])
            self.optimizer.load_state_dict(state["optimizer"])
            set_random_state(state["random"][parallel.rank()], self.precision.device)
            self.iteration, self.memory = operator.index(state["iteration"]), operator.index(state["memory"])
            self.seconds = float(state["seconds"])
            self.best, self.row = state["best"] and {**state["best"]}, state["row"] and {**state["row"]}
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:
            raise SegbenchError(
                f"does not fit its training ({(str(error) or type(error).__name__).splitlines()[0]})",
                where=self.checkpoint_path,
                remedy="remove it; the training then starts over",
            ) from error
        log.info("%s: going on after iteration %d", self.checkpoint_path, self.iteration)

    def _peak_memory(self) -> int:
        return max(self.memory, peak_memory(self.precision.device))
