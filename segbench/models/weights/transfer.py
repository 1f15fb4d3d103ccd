"""Initialise networks with the weights of a trained network, perhaps for other classes."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from segbench.contract.cell import CellSpec
from segbench.errors import SegbenchError
from segbench.models.network import Network
from segbench.models.saved import load_model
from segbench.models.weights.public import RGB, tensors_of_classes, with_channels

log = logging.getLogger(__name__)


def copy_trained_weights(network: Network, spec: CellSpec, path: Path) -> None:
    """Copy the weights of the same name and shape from a `model.pt`.

    If the classes differ in name or order, all tensors whose shape depends on the number of classes keep
    their initial values. If the images have other channels and the trained network is for RGB, its first
    convolution is adapted. The log says which tensors are not copied.

    Args:
        network: network to change in place.
        spec: specification of the network.
        path: the `model.pt`.

    Raises:
        SegbenchError: the file cannot be read, no weights are shared, or the channels cannot be adapted.
    """
    trained = load_model(path, torch.device("cpu"))
    earlier = trained.network
    if earlier.in_channels != network.in_channels:
        if earlier.in_channels != RGB:
            raise SegbenchError(
                f"was trained on images of {earlier.in_channels} channels; these have {network.in_channels}",
                where=path,
                remedy="start from a network of as many channels, or of 3 (RGB), which are adapted",
            )
        earlier = with_channels(earlier, trained.spec, network.in_channels)
    own, given = network.state_dict(), earlier.state_dict()
    same = [c.name for c in earlier.view.classes] == [c.name for c in network.view.classes]
    of_classes = set() if same else tensors_of_classes(network, spec)
    left = {key: _why_left(key, own, given, of_classes) for key in own}
    taken = {key: given[key] for key, why in left.items() if not why}
    if not taken:
        raise SegbenchError(
            f"shares no weights with {type(network).__name__}",
            where=path,
            remedy="name a network of the same kind in init_from",
        )
    log.info("%d of %d tensors copied from %s (%s)", len(taken), len(own), path, trained.dataset)
    for why in dict.fromkeys(filter(None, left.values())):
        log.info("begun anew, %s: %s", why, ", ".join(key for key in own if left[key] == why))
    if unused := [key for key in given if key not in own]:
        log.info("not used: %s", ", ".join(unused))
    network.load_state_dict(taken, strict=False)


def _why_left(
    key: str, own: dict[str, torch.Tensor], given: dict[str, torch.Tensor], of_classes: set[str]
) -> str:
    """Return why a tensor is not copied; empty if it is."""
    if key in of_classes:
        return "as the classes differ"
    if key not in given:
        return "as the file lacks them"
    return "as their shapes differ" if own[key].shape != given[key].shape else ""
