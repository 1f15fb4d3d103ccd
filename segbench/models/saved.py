"""Build networks from specifications, and save and load trained networks (`model.pt`)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segbench.contract.cell import CellSpec
from segbench.contract.view import Category, View
from segbench.data.dataset import DatasetInfo
from segbench.data.levels import Levels
from segbench.errors import SegbenchError
from segbench.files import atomic_path
from segbench.importing import load_object
from segbench.models.network import Network


def build_network(spec: CellSpec, view: View, in_channels: int) -> Network:
    """Build an untrained network.

    Args:
        spec: network, task and options.
        view: task and classes to predict.
        in_channels: channels of the images.

    Raises:
        SegbenchError: the network cannot be trained for the task, or its constructor rejects an option.
    """
    kind = load_object(spec.class_path)
    if spec.task not in kind.tasks:
        raise SegbenchError(
            f"cannot be trained for {spec.task} (only for {', '.join(kind.tasks)})", where=spec.class_path
        )
    try:
        network = kind(view, in_channels, **spec.options)
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        raise SegbenchError(
            str(error), where=spec.class_path, remedy="check `options:` of its entry and its recipe"
        ) from error
    if view.overlapping and getattr(network, "activation", None) != "sigmoid":
        raise SegbenchError(
            "predicts one class for a pixel, but the classes of the dataset overlap",
            where=spec.class_path,
            remedy="set the option `activation: sigmoid`, or choose a network that has it, such as unet",
        )
    return network


@dataclass
class Model:
    """A trained network, with the data needed to apply it."""

    network: Network
    spec: CellSpec
    """Specification of the training."""
    identity: str
    """Identity of the training that made the weights."""
    dataset: str
    """Name of the dataset that the network was trained on."""
    mean: list[float]
    """Mean of each channel, in 0..1."""
    std: list[float]
    """Standard deviation of each channel, in 0..1."""
    levels: Levels | None
    """Range of each channel, with which images are scaled: see `segbench.data.levels.scaled`."""

    @property
    def view(self) -> View:
        """Task and classes of the network."""
        return self.network.view


def save_model(
    path: Path, spec: CellSpec, view: View, info: DatasetInfo, identity: str, weights: dict[str, Tensor]
) -> None:
    """Write a trained network to a `model.pt`.

    Args:
        path: file to write.
        spec: specification of the training.
        view: task and classes of the network.
        info: dataset that the network was trained on; gives channels and normalisation.
        identity: identity of the training.
        weights: state dict of the network.

    Raises:
        OSError: the file cannot be written.
    """
    save(
        path,
        {
            "spec": spec.model_dump_json(),
            "identity": identity,
            "task": view.task,
            "classes": [c.model_dump() for c in view.classes],
            "overlapping": view.overlapping,
            "dataset": info.name,
            "channels": info.channels,
            "mean": info.mean,
            "std": info.std,
            "levels": info.levels and info.levels.model_dump(),
            "weights": weights,
        },
    )


def load_model(path: Path, device: torch.device) -> Model:
    """Read a trained network from a `model.pt`, in evaluation mode.

    Args:
        path: the file.
        device: device of the network.

    Raises:
        SegbenchError: the file cannot be read, or does not fit its network.
    """
    state = load(path)
    try:
        spec = CellSpec.model_validate_json(state["spec"])
        view = View(state["task"], tuple(Category(**c) for c in state["classes"]), state["overlapping"])
        network = build_network(spec, view, state["channels"])
        network.load_state_dict(state["weights"])
        mean, std = ([float(v) for v in state[key]] for key in ("mean", "std"))
        if not len(mean) == len(std) == network.in_channels:
            raise ValueError(f"mean and std of {len(mean)} and {len(std)} channels")
        levels = state["levels"] and Levels.model_validate(state["levels"])
        if levels and len(levels.ranges) != network.in_channels:
            raise ValueError(f"levels of {len(levels.ranges)} channels")
        model = Model(
            network.to(device).eval(), spec, str(state["identity"]), state["dataset"], mean, std, levels
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # pydantic's error is a ValueError
        raise SegbenchError(
            f"does not fit its network ({str(error).splitlines()[0]})",
            where=path,
            remedy="train the network again with this version",
        ) from error
    return model


def save(path: Path, state: dict[str, Any]) -> None:
    """Write with `torch.save` to disk; the file gets its final name only when it is complete.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_path(path) as partial:
        try:
            with partial.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
        except RuntimeError as error:  # torch raises this if it cannot write the file
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise OSError(str(error).splitlines()[0]) from error


def load(path: Path, device: torch.device | str = "cpu", *, mapped: bool = False) -> Any:
    """Read a file that `save` wrote; only tensors and plain values, so that no file can run code.

    Args:
        path: the file.
        device: device of the tensors.
        mapped: map the file into memory, and read tensors when they are used.

    Raises:
        SegbenchError: the file cannot be read.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged file can make the unpickler raise anything
        raise SegbenchError(
            f"cannot be read ({(str(error) or type(error).__name__).splitlines()[0]})",
            where=path,
            remedy="remove the file and make it again",
        ) from error


def load_backbone_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a .safetensors file or a file of `torch.save`.

    Raises:
        SegbenchError: the file cannot be read.
    """
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise SegbenchError(f"cannot be read ({error})", where=path, remedy="fetch it again") from error
    state = load(path)
    for key in ("state_dict", "model"):
        state = state.get(key, state)
    return state
