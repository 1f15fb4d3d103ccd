"""Apply a trained network to a user's own images and videos, and paint the predictions over them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from segbench.contract.prediction import Instances, Prediction
from segbench.contract.view import View, has_class
from segbench.data.coco.masks import decode
from segbench.data.images import IMAGE_SUFFIXES, read_upright
from segbench.data.junk import listed
from segbench.data.levels import scaled
from segbench.data.loading.loader import image_tensor
from segbench.data.painting import Region, paint, shown
from segbench.errors import SegbenchError
from segbench.files import atomic_path
from segbench.models.saved import load_model
from segbench.prediction.host import on_host
from segbench.prediction.inference import Predictor
from segbench.prediction.runner.video import VIDEO_SUFFIXES, repaint_video
from segbench.training.precision import Precision, memory_errors, pick_device

log = logging.getLogger(__name__)
MIN_SCORE = 0.5
"""Objects below this score are not painted."""


def predict_files(
    model: Path, inputs: list[Path], out: Path, *, device: str = "auto", show: Sequence[int] = ()
) -> None:
    """Paint predictions over images and videos.

    Results are upright, according to the image's EXIF data or the video's header. Frames are streamed.

    Args:
        model: a trained model.pt.
        inputs: images, videos in any format that FFmpeg reads, and folders of both.
        out: folder of the results, `<name>.png` and `<name>.mp4`.
        device: auto, cpu, cuda or cuda:<n>.
        show: channels to paint on; see `segbench.data.painting.shown`.

    Raises:
        SegbenchError: an input is missing or unreadable or has other channels than the network, a folder has
            no image and no video, or a result would replace an input or another result.
    """
    where = pick_device(device)
    targets = _targets(_files(inputs), out)
    trained = load_model(model, where)
    precision = Precision.of(trained.spec.recipe.precision, where)
    predictor = Predictor(trained, trained.spec.recipe.inference, precision)
    channels = trained.network.in_channels

    def painted(pixels: np.ndarray) -> np.ndarray:
        found = on_host(predictor(image_tensor(pixels)[None])[0])
        return overlay(shown(pixels, show), found, predictor.view)

    for target, path in targets.items():
        with memory_errors(f"predicting {path}", "use smaller images"), atomic_path(target) as partial:
            if _is_image(path):
                Image.fromarray(painted(read_upright(path, channels, trained.levels))).save(partial)
            else:
                if channels not in (1, 3):
                    raise SegbenchError(
                        f"is a video; the network was trained on images of {channels} channels",
                        where=path,
                        remedy=f"give images of {channels} channels",
                    )
                repaint_video(path, partial, channels, lambda frame: painted(scaled(frame, trained.levels)))
        log.info("%s -> %s", path, target)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def _files(inputs: list[Path]) -> Iterator[Path]:
    """Yield all files that were named, and the images and videos in folders."""
    for path in inputs:
        if not path.exists():
            raise SegbenchError("does not exist", where=path, remedy="check the path")
        if not path.is_dir():
            yield path
            continue
        inside = [p for p in listed(path) if p.is_file()]
        known = [p for p in inside if p.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES]
        if not known:
            raise SegbenchError(
                "contains no image and no video (folders inside it are not searched)",
                where=path,
                remedy="name a folder with images or videos, or the files themselves",
            )
        if others := [p.name for p in inside if p not in known]:
            log.info("%s: %d other files are skipped, such as %s", path, len(others), others[0])
        yield from known


def _targets(files: Iterator[Path], out: Path) -> dict[Path, Path]:
    """Map outputs to inputs; raise SegbenchError if an output would replace an input or another output."""
    found: dict[Path, Path] = {}
    inputs = list(files)
    originals = {path.resolve() for path in inputs}
    for path in inputs:
        target = out / f"{path.stem}{'.png' if _is_image(path) else '.mp4'}"
        if target in found:
            raise SegbenchError(
                f"would be written to {target}, as {found[target]} would",
                where=path,
                remedy="rename one of them, or use one call each with another --out",
            )
        if target.resolve() in originals:
            raise SegbenchError(f"would replace the input {target}", where=path, remedy="give another --out")
        found[target] = path
    return found


def overlay(image: np.ndarray, found: Prediction, view: View) -> np.ndarray:
    """Paint the richest part of a prediction over an image, in the colours of the classes.

    Args:
        image: H x W x 3 uint8.
        found: prediction of H x W.
        view: classes of the prediction's labels.
    """
    return paint(image, _regions(found, view, image.shape[:2]))


def _regions(found: Prediction, view: View, size: tuple[int, ...]) -> Iterator[Region]:
    if found.panoptic is not None:
        segments = found.panoptic.segments.cpu().numpy()
        for k, label in enumerate(found.panoptic.labels.tolist(), 1):
            category = view.classes[label]
            yield Region(category, segments == k, category.isthing)
    elif found.instances is not None:
        yield from _objects(found.instances, view, size)
    else:
        assert found.semantic is not None
        labels = found.semantic.cpu().numpy()
        for label, category in enumerate(view.classes):
            if view.overlapping:
                yield Region(category, has_class(labels, label), overlaps=True)
            elif category.id != 0:
                yield Region(category, labels == label)


def _objects(found: Instances, view: View, size: tuple[int, ...]) -> Iterator[Region]:
    """Yield the objects by rising score, so that the best is on top; without masks, the insides of boxes."""
    for k in found.scores.argsort(stable=True).tolist():
        if found.scores[k] < MIN_SCORE:
            continue
        if found.masks is not None:
            mask = found.masks[k]
            mask = mask.cpu().numpy() if isinstance(mask, Tensor) else decode(mask)
        else:
            assert found.boxes is not None
            left, top, right, bottom = (max(0, round(v)) for v in found.boxes[k].tolist())
            mask = np.zeros(size, bool)
            mask[top:bottom, left:right] = True
        yield Region(view.classes[int(found.labels[k])], mask, is_object=True)
