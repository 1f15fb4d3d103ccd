"""Fetch and verify public weights: of backbones, with timm's names, and of whole networks."""

from __future__ import annotations

import importlib.resources
import logging
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from segbench.contract.checkpoint import Checkpoint
from segbench.contract.sources import Archive, Provenance, WeightsEntry
from segbench.data.sources.fetch import fetch_archive
from segbench.errors import SegbenchError, nearest
from segbench.files import atomic_path, read_json, write_text

if TYPE_CHECKING:  # torch is not needed to read entries
    from torch import Tensor


log = logging.getLogger(__name__)


def fetch_weights(entry: WeightsEntry, out: Path, mirror: str | None = None) -> Provenance:
    """Fetch weights and write them as safetensors.

    For a backbone, the file has exactly the state dict of `timm.create_model(entry.timm)`. For a whole
    network, it has the published state dict, and the `Checkpoint` as JSON in its metadata.

    The published file is kept in `fetched/<stem of out>/`. Only tensors are read from it, never code. If the
    entry has no checksum, that of the first download is stored beside it and must fit from then on.

    Args:
        entry: the entry of the weights.
        out: file to write.
        mirror: see `fetch_archive`.

    Returns:
        Where the file came from.

    Raises:
        SegbenchError: the file cannot be fetched, is damaged, or does not fit the model.
    """
    url = entry.url or _installed(entry).as_uri()
    name = unquote(Path(urlsplit(url).path).name)
    fetched = out.parent / "fetched" / out.stem / name
    note = fetched.with_name(f"{name}.json")
    checksum = entry.checksum
    if checksum is None and note.exists():
        checksum = f"sha256:{Provenance.model_validate(read_json(note)).sha256}"
    provenance = fetch_archive(name, Archive(url=url, checksum=checksum), fetched, mirror)
    if entry.checksum is None:
        log.warning("%s: not verified, as its entry has no checksum; stored its checksum in %s", name, note)
    write_text(note, provenance.model_dump_json(indent=2) + "\n")
    metadata = {"source": name, "source_sha256": provenance.sha256}
    if entry.checkpoint:
        state, checkpoint = _whole(entry.checkpoint, _read(fetched), fetched)
        metadata["checkpoint"] = checkpoint.model_dump_json(by_alias=True)
    else:
        state = _as_timm(entry, _state_dict(_read(fetched), fetched), fetched)

    from safetensors.torch import save_file

    with atomic_path(out) as partial:
        save_file(state, partial, metadata)
    return provenance


def _whole(checkpoint: Checkpoint, content: Any, path: Path) -> tuple[dict[str, Tensor], Checkpoint]:
    """Return the state dict, and the `Checkpoint` completed from the file."""
    if not checkpoint.classes:
        try:
            told = {"classes": [c["name"] for c in content["classes"]]}
            told |= {key: content[key] for key in ("mean", "std")}
            content = content["weights"]
        except (KeyError, TypeError) as error:
            raise SegbenchError(
                f"is not a model.pt of segbench (lacks {error})",
                where=path,
                remedy="give `classes`, `mean` and `std`",
            ) from error
        checkpoint = checkpoint.model_copy(update=told)
    state = _state_dict(content, path)
    return {key: value.detach().clone().contiguous() for key, value in state.items()}, checkpoint


def _installed(entry: WeightsEntry) -> Path:
    assert entry.package and entry.file
    try:
        path = Path(str(importlib.resources.files(entry.package))) / entry.file
    except ModuleNotFoundError as error:
        raise SegbenchError(
            f"the package {entry.package}, which has the weights of {entry.timm}, is not installed",
            remedy="install segbench with its extra `weights`",
        ) from error
    if not path.is_file():
        raise SegbenchError(
            "does not exist",
            where=path,
            remedy=f"install {entry.package} again, or correct `file:` of the entry",
        )
    return path


def _read(path: Path) -> Any:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise SegbenchError(
            f"is not a file of weights, or is damaged ({str(error).splitlines()[0]})",
            where=path,
            remedy="remove it, so that it is fetched again",
        ) from error


def _state_dict(state: Any, path: Path) -> dict[str, Tensor]:
    from torch import Tensor

    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise SegbenchError(
            "is not a state dict (names and tensors)", where=path, remedy="name another file in the entry"
        )
    return state


def _as_timm(entry: WeightsEntry, state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the tensors with timm's names and shapes. timm's own filter converts them; all must fit."""
    import timm

    assert entry.timm
    if not timm.is_model(entry.timm):
        hint = nearest(entry.timm, timm.list_models())
        raise SegbenchError(
            f"timm has no model '{entry.timm}'",
            where=path,
            remedy=f"did you mean '{hint}'?" if hint else None,
        )
    try:
        if entry.layout == "ordered":
            state = _in_order(state, timm.create_model(entry.timm).state_dict())
        model: Any = timm.create_model(
            entry.timm, pretrained=True, pretrained_cfg_overlay={"state_dict": state}
        )
    except (RuntimeError, KeyError, ValueError) as error:
        raise SegbenchError(
            f"does not fit timm's {entry.timm}: {str(error)[:500]}",
            where=path,
            remedy="check `timm:`, `layout:` and the file of the entry",
        ) from error
    result = {key: value.contiguous() for key, value in model.state_dict().items()}
    for key, value in result.items():
        if not value.isfinite().all() or (key.endswith("running_var") and (value < 0).any()):
            raise SegbenchError(f"'{key}' has impossible values", where=path, remedy="fetch it again")
    return result


def _in_order(state: dict[str, Tensor], names: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors to those of `names`, in their order. ValueError if they do not fit."""
    if len(state) != len(names):
        raise ValueError(f"{len(state)} tensors, {len(names)} needed")
    for (ours, place), (theirs, value) in zip(names.items(), state.items()):
        if ours.rpartition(".")[2] != theirs.rpartition(".")[2] or place.shape != value.shape:
            raise ValueError(f"'{theirs}' {tuple(value.shape)} does not fit '{ours}' {tuple(place.shape)}")
    return dict(zip(names, state.values()))
