"""Initialise networks with public weights of a whole network."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from segbench.contract.cell import CellSpec
from segbench.contract.checkpoint import Checkpoint
from segbench.contract.view import Category, View
from segbench.errors import SegbenchError, nearest
from segbench.importing import load_object
from segbench.models.network import Network
from segbench.models.saved import build_network

log = logging.getLogger(__name__)

RGB = 3
UNKNOWN = 0
"""Id of the classes of a checkpoint that the dataset lacks: background in semantic maps, else removed."""


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], Checkpoint]:
    """Read the weights of a whole network from a file of `fetch_weights`.

    Returns:
        The state dict and its description.

    Raises:
        SegbenchError: the file cannot be read, or contains weights of a backbone only.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise SegbenchError(f"cannot be read ({error})", where=path, remedy="fetch it again") from error
    if "checkpoint" not in metadata:
        raise SegbenchError("contains no whole network", where=path, remedy="name it as `pretrained`")
    return state, Checkpoint.model_validate_json(metadata["checkpoint"])


def public_network(spec: CellSpec, view: View, channels: int, path: Path) -> tuple[Network, Checkpoint]:
    """Build a network with public weights, for the classes of these weights.

    Args:
        spec: network, task and options.
        view: view of the dataset. Classes of the same name get the dataset's ids, others `UNKNOWN`.
        channels: channels of the dataset's images.
        path: file of `fetch_weights`.

    Returns:
        The network and the description of the weights.

    Raises:
        SegbenchError: the weights do not fit the network, or are for another number of channels and cannot
            be adapted: without training, or if they are not for RGB.
    """
    state, checkpoint = read_checkpoint(path)
    given = len(checkpoint.mean)
    if given != channels and (given != RGB or not (spec.recipe and spec.recipe.iterations)):
        raise SegbenchError(
            f"requires images of {given} channels; the dataset has {channels}",
            where=path,
            remedy="train (iterations above 0): the first convolution of RGB weights is then adapted",
        )
    known = {category.name: category for category in view.classes}
    classes = tuple(
        known.get(name) or Category(id=UNKNOWN, name=name, isthing=True, color=(128, 128, 128))
        for name in checkpoint.classes
    )
    network = build_network(spec, replace(view, classes=classes), given)
    try:
        if checkpoint.load:
            load_object(checkpoint.load)(network, state)
        else:
            network.load_state_dict(state)
    except RuntimeError as error:
        raise SegbenchError(
            f"does not fit {spec.class_path} ({str(error)[:300]})",
            where=path,
            remedy="set the options that the published network has",
        ) from error
    return network if given == channels else with_channels(network, spec, channels), checkpoint


def with_channels(network: Network, spec: CellSpec, channels: int) -> Network:
    """Return a copy of an RGB network for images of other channels.

    The first convolution is adapted by timm's rule: summed for one channel, else repeated and scaled.
    """
    from timm.models import adapt_input_conv  # slow to import

    other = build_network(spec, network.view, channels)
    own, state = other.state_dict(), network.state_dict()
    adapted = {k: v if v.shape == own[k].shape else adapt_input_conv(channels, v) for k, v in state.items()}
    other.load_state_dict(adapted)
    return other


def check_classes(names: list[str], view: View, path: Path) -> None:
    """Check that a network can predict all classes of a view without training.

    Args:
        names: names of the network's classes.
        view: view of the dataset.
        path: file of the weights, for the message.

    Raises:
        SegbenchError: the network lacks a class, or has more classes and the view no background for them.
    """
    missing = [c.name for c in view.classes if c.name not in names]
    if missing:
        hint = nearest(missing[0], names)
        raise SegbenchError(
            f"lacks the classes {', '.join(missing[:5])}" + (f" (but has '{hint}')" if hint else ""),
            where=path,
            remedy="train (iterations above 0), or copy the entry and spell `classes` as the dataset does",
        )
    if view.task == "semantic" and view.classes[0].id != UNKNOWN and len(names) > len(view.classes):
        raise SegbenchError(
            f"has {len(names)} classes; the dataset has {len(view.classes)} and no background for the rest",
            where=path,
            remedy="train (iterations above 0)",
        )


def copy_public_weights(network: Network, public: Network, spec: CellSpec) -> None:
    """Copy public weights into a network; unless the classes are the same, layers per class stay as they are.

    Args:
        network: network for the dataset's classes, changed in place.
        public: the network with public weights.
        spec: specification of both.
    """
    state = public.state_dict()
    if [c.name for c in public.view.classes] != [c.name for c in network.view.classes]:
        unshared = tensors_of_classes(network, spec)
        log.info(
            "%d of %d tensors are for other classes and keep their initial values", len(unshared), len(state)
        )
        state = {key: value for key, value in state.items() if key not in unshared}
    network.load_state_dict(state, strict=False)


def tensors_of_classes(network: Network, spec: CellSpec) -> set[str]:
    """Return the names of the tensors whose shape depends on the number of classes."""
    view = network.view
    with torch.device("meta"):
        wider = build_network(
            spec, replace(view, classes=(*view.classes, view.classes[-1])), network.in_channels
        )
    shapes = {key: value.shape for key, value in wider.state_dict().items()}
    return {key for key, value in network.state_dict().items() if value.shape != shapes[key]}
