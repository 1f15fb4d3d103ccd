"""Export the network of a cell to a file for other programs, checked on images of its dataset."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segbench.contract.run import RunDescription
from segbench.data.dataset import Dataset
from segbench.errors import SegbenchError
from segbench.files import atomic_path
from segbench.models.network import SemanticNetwork
from segbench.models.saved import Model, load_model
from segbench.prediction.inference import Predictor
from segbench.prediction.predict import check_classes, read_tensor
from segbench.prediction.runner.exported import SUFFIXES, Format, check_packages, runner, traced, write
from segbench.training.precision import Precision

log = logging.getLogger(__name__)

IMAGES = 3
"""Number of images that are compared."""
LOGITS = 1e-3
"""Largest difference of a logit, as a share of the largest logit, or of 1 if that is smaller."""
PIXELS = 1e-3
"""Largest share of pixels with another class, in an image: logits that are nearly equal may change places."""


def export_model(cell: Path, to: Format, out: Path | None = None, data: Path | None = None) -> Path:
    """Write the network of a cell as an ONNX file or a program of `torch.export`, and compare both.

    The file maps normalised images, B x C x H x W, to logits, B x outputs x H x W. It gets its name only if
    it predicts the same as the cell on three images, with the cell's own resizing and windows in fp32.

    Args:
        cell: folder of a cell, or its model.pt.
        to: format of the file.
        out: file to write; None: `model.onnx` or `model.pt2` beside the model.pt.
        data: folder of the dataset with the images; None: as `run.json` of the run says.

    Returns:
        The file.

    Raises:
        SegbenchError: a package is missing, the network is not semantic or cannot be exported, the dataset
            is not found, or the predictions differ by more than `LOGITS` or `PIXELS`.
    """
    check_packages(to)
    path = cell / "model.pt" if cell.is_dir() else cell
    trained = load_model(path, torch.device("cpu"))
    if not isinstance(trained.network, SemanticNetwork):
        raise SegbenchError(
            f"{trained.spec.class_path} has no map of logits: only semantic networks can be exported",
            where=path,
            remedy="use `segbench segment`, or train a semantic network, such as unet",
        )
    images = _images(trained, path, data)
    out = out or path.with_suffix(SUFFIXES[to])
    own = [_predicted(trained, image, trained.network) for image in images]
    size = own[0].sizes[0]
    log.info("exporting %s, traced at %d x %d", trained.spec.class_path, *size)
    try:
        exported = traced(trained.network, trained.network.in_channels, size)
        with atomic_path(out) as partial:
            write(exported, to, partial, description(trained, exported.fixed))
            fitting = [k for k, one in enumerate(own) if not exported.fixed or {*one.sizes} == {size}]
            pairs = [(images[k], own[k].labels) for k in fitting]
            _compare(trained, pairs, runner(to, partial), partial.name)
    except SegbenchError:
        raise
    except Exception as error:  # torch and ONNX raise many types, with long messages
        log.debug("the export failed", exc_info=True)
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise SegbenchError(
            f"{trained.spec.class_path} cannot be exported to {to} ({type(error).__name__}: {reason[:300]})",
            where=path,
            remedy="try the other format, or use `segbench segment`",
        ) from error
    return out


def description(trained: Model, fixed: tuple[int, int] | None) -> dict[str, Any]:
    """Return what a program needs to know to use the file: stored in its metadata.

    Args:
        trained: the network.
        fixed: height and width of the images if there is only one; else None.
    """
    network: Any = trained.network
    inference = trained.spec.recipe.inference
    return {
        "network": trained.spec.class_path,
        "dataset": trained.dataset,
        "identity": trained.identity,
        "classes": [c.model_dump() for c in trained.view.classes],
        "overlapping": trained.view.overlapping,
        "activation": network.activation,
        "background_logit": network.has_background_logit,
        "channels": network.in_channels,
        "mean": trained.mean,
        "std": trained.std,
        "levels": trained.levels and trained.levels.model_dump(),
        "size": fixed,
        "inference": inference.model_dump(mode="json"),
    }


def _images(trained: Model, path: Path, data: Path | None) -> list[Tensor]:
    dataset = Dataset(data or _data_of(path))
    check_classes(trained, dataset, path)
    split = dataset.split(dataset.info.evaluation_split)
    return [read_tensor(split, record) for record in split.images[:IMAGES]]


def _data_of(path: Path) -> Path:
    """Return the folder of the data of the cell with this model.pt, from the run.json of its run."""
    folder = path.resolve().parent
    for root in folder.parents:
        if (root / "run.json").exists():
            run = RunDescription.read(root / "run.json")
            for cell in run.cells:
                if run.folder(cell) == folder:
                    return run.data(cell)
    raise SegbenchError(
        "belongs to no run here; images to compare with are needed",
        where=path,
        remedy="give the folder of its converted dataset with --data",
    )


class _Predicted(NamedTuple):
    labels: Tensor
    """H x W labels of an image."""
    sizes: list[tuple[int, int]]
    """Height and width of each input of the network."""


def _predicted(trained: Model, image: Tensor, forward: Callable[[Tensor], Tensor]) -> _Predicted:
    """Predict an image with the cell's resizing and windows, and with `forward` in place of the network."""
    sizes = []

    def seen(fed: Tensor) -> Tensor:
        sizes.append((fed.shape[-2], fed.shape[-1]))
        return forward(fed)

    network: Any = copy.copy(trained.network)
    network.forward = seen
    model = copy.copy(trained)
    model.network = network
    predictor = Predictor(model, trained.spec.recipe.inference, Precision.of("fp32", torch.device("cpu")))
    labels = predictor(image[None])[0].semantic
    assert labels is not None
    return _Predicted(labels, sizes)


def _compare(
    trained: Model, pairs: list[tuple[Tensor, Tensor]], run: Callable[[Tensor], Tensor], name: str
) -> None:
    """Raise SegbenchError unless `run` gives the logits and labels of the network on images with labels."""
    worst = share = 0.0

    def both(fed: Tensor) -> Tensor:
        nonlocal worst
        expected, found = trained.network(fed), run(fed)
        scale = max(1.0, float(expected.abs().max()))
        worst = max(worst, float((found - expected).abs().nan_to_num(torch.inf).max()) / scale)
        return found

    for image, own in pairs:
        labels = _predicted(trained, image, both).labels
        share = max(share, float((labels != own).float().mean()))
    text = (
        f"logits differ by up to {worst:.1e} of the largest one (allowed: {LOGITS:g}), "
        f"and {share:.3%} of the pixels have another class (allowed: {PIXELS:.1%})"
    )
    if not (pairs and worst <= LOGITS and share <= PIXELS):
        raise SegbenchError(
            f"does not predict as the cell does on {len(pairs)} images: {text}",
            where=name,
            remedy="use the other format, or a recipe that predicts whole images of one size",
        )
    log.info("%s: compared on %d images: %s", name, len(pairs), text)
