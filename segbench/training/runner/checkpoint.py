"""Checkpoint files of a training."""

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
from segbench.models.saved import load, save

log = logging.getLogger(__name__)

CHECKPOINT, HISTORY = "checkpoint.pt", "history.partial.csv"
"""What a training needs to go on; files beside its results."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> bool:
    """False, with a warning, where it cannot be written: the older checkpoint stays and training goes on.

    OSError where the disk is full: what comes after could not be written either.
    """
    try:
        save(path, state)
    except OSError as error:
        if is_full(error):
            raise
        log.warning("%s: no checkpoint could be written (%s); training goes on without it", path, error)
        return False
    return True


def load_checkpoint(path: Path, identity: str, precision: str) -> dict[str, Any] | None:
    """The checkpoint of the training called `identity`; None, with the reason logged, where there is none."""
    if not path.exists():
        return None
    try:
        state = load(path)
    except SegbenchError as error:
        log.warning("%s; training starts over", error)
        return None
    if not isinstance(state, dict) or state.get("identity") != identity:
        before = state.get("precision") if isinstance(state, dict) else None
        what = "recipe, dataset or code"
        if before not in (None, precision):
            what = f"precision ({before}, here it is {precision}; the recipe's `precision` can fix it)"
        log.warning("%s is of another %s; training starts over", path, what)
        return None
    return state


def forget(folder: Path, identity: str) -> None:
    """Remove what the training `identity` needs to go on, now that its end was seen.

    Not the training's own last step: the workflow deletes the results of a training that ended while the
    workflow was not there to see it, and repeats it, from its end. The state of another training stays, and
    so does all of it while a process trains there.
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
            (folder / HISTORY).unlink(missing_ok=True)


def weights_digest(weights: dict[str, Tensor]) -> str:
    """SHA-256 over names and values."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
