"""Checkpoint files of a training.

The best weights so far have a file of their own, since they change rarely: a checkpoint names it. With
Mask2Former and `select: best`, a checkpoint is then a quarter smaller.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segbench.errors import SegbenchError
from segbench.files import is_full
from segbench.jobs.locks import alone_if_free
from segbench.jobs.state import CHECKPOINT
from segbench.models.saved import load, save

log = logging.getLogger(__name__)

HISTORY = "history.partial.csv"
"""Rows of the history; needed to continue, like the checkpoint."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> bool:
    """Write a checkpoint, and return whether this succeeded.

    A failure is logged as a warning. The previous checkpoint then stays, and training continues.

    Raises:
        OSError: the disk is full, so that the results could not be written either.
    """
    best = state["best"]
    name = f"best-{best['iteration']}.pt" if best else None
    try:
        if name and not path.with_name(name).exists():
            save(path.with_name(name), best)
        save(path, state | {"best": name})
        remove_best(path.parent, keep=name)
    except OSError as error:
        if is_full(error):
            raise
        log.warning("%s: the checkpoint cannot be written (%s); training continues without it", path, error)
        return False
    return True


def load_checkpoint(path: Path, identity: str, precision: str) -> dict[str, Any] | None:
    """Read the checkpoint of a training.

    Args:
        path: the file.
        identity: identity of the training, see `segbench.training.runner.train.identity`.
        precision: bf16, fp16 or fp32; used in the message only.

    Returns:
        The state, or None if there is no checkpoint of this training; the reason is logged.
    """
    if not path.exists():
        return None
    try:
        state = load(path)
        best = state.get("best") if isinstance(state, dict) else None
        if isinstance(best, str):
            state["best"] = load(path.with_name(Path(best).name))
    except SegbenchError as error:
        log.warning("%s; training starts over", error)
        return None
    if not isinstance(state, dict) or state.get("identity") != identity:
        before = state.get("precision") if isinstance(state, dict) else None
        what = "recipe, dataset or code"
        if before not in (None, precision):
            what = f"precision ({before}, now {precision}; set the recipe's `precision` to keep it)"
        log.warning("%s has another %s; training starts over", path, what)
        return None
    return state


def remove_best(folder: Path, keep: str | None = None) -> None:
    """Remove the files of best weights, except the one of this name."""
    for path in folder.glob("best-*.pt"):
        if path.name != keep:
            path.unlink()


def remove_checkpoint(folder: Path, identity: str) -> None:
    """Remove the checkpoint and the partial history of a training that has ended.

    The training does not do this itself: if the workflow was killed meanwhile, it deletes the results and
    repeats the training, which then continues from its last checkpoint. Nothing is removed if the checkpoint
    belongs to another training, or while a process trains in the folder.

    Args:
        folder: folder of the cell.
        identity: identity of the training that has ended.
    """
    with alone_if_free(folder) as alone:
        path = folder / CHECKPOINT
        if not alone or not path.exists():
            return
        try:
            state = load(path, mapped=True)
        except SegbenchError:
            return
        if isinstance(state, dict) and state.get("identity") == identity:
            del state
            path.unlink()
            remove_best(folder)
            (folder / HISTORY).unlink(missing_ok=True)


def weights_digest(weights: dict[str, Tensor]) -> str:
    """Return the SHA-256 over names, types, shapes and values, as hexadecimal digits."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
