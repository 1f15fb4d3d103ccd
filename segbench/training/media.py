"""A trained network on a user's own images and videos, painted over them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import av
import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from segbench.data.dataset import View
from segbench.data.images import IMAGE_SUFFIXES, read_image
from segbench.data.loader import image_tensor
from segbench.errors import SegbenchError
from segbench.files import atomic_path
from segbench.models.network import Prediction
from segbench.training.inference import Predictor
from segbench.training.model import load_model
from segbench.training.precision import Precision, memory_errors, pick_device

log = logging.getLogger(__name__)
LEAST_SCORE = 0.5
"""Objects below this score are not painted."""


def predict_files(model: Path, inputs: list[Path], out: Path, *, device: str = "auto") -> None:
    """Paint predictions over images (`out`/<name>.png) and videos (`out`/<name>.mp4).

    `inputs`: images, folders of images, or videos in any format that FFmpeg reads; frames are streamed.
    Raises SegbenchError: an input that is missing, unreadable, or named like another.
    """
    where = pick_device(device)
    trained = load_model(model, where)
    precision = Precision.of(trained.spec.recipe.precision, where)
    predictor = Predictor(trained, trained.spec.recipe.inference, precision)
    channels = trained.network.in_channels
    written: dict[Path, Path] = {}
    for path in _files(inputs):
        is_image = path.suffix.lower() in IMAGE_SUFFIXES
        target = out / f"{path.stem}{'.png' if is_image else '.mp4'}"
        if target in written:
            raise SegbenchError(
                f"would be written to {target}, as {written[target]} was",
                where=path,
                remedy="rename one of them, or write to another folder",
            )
        written[target] = path
        with memory_errors(f"predicting {path}", "use smaller images"):
            if is_image:
                painted = _painted(predictor, image_tensor(read_image(path, channels)))
                with atomic_path(target) as partial:
                    Image.fromarray(painted.permute(1, 2, 0).numpy()).save(partial)
            else:
                _paint_video(predictor, path, target, channels)
        log.info("%s -> %s", path, target)


def _files(inputs: list[Path]) -> Iterator[Path]:
    for path in inputs:
        if not path.exists():
            raise SegbenchError("does not exist", where=path, remedy="check the path")
        if path.is_dir():
            yield from sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        else:
            yield path


def _painted(predictor: Predictor, image: Tensor) -> Tensor:
    """C x H x W uint8 -> 3 x H x W uint8."""
    return overlay(image.expand(3, -1, -1), predictor(image[None])[0], predictor.view)


def overlay(image: Tensor, found: Prediction, view: View, alpha: float = 0.5) -> Tensor:
    """Paint the richest part of a prediction over a 3 x H x W uint8 image, in the colours of the classes."""
    if found.panoptic is not None:
        labels = found.panoptic.labels.cpu()
        masks = found.panoptic.segments.cpu() == torch.arange(1, len(labels) + 1)[:, None, None]
    elif found.instances is not None:
        shown = found.instances.scores >= LEAST_SCORE
        labels = found.instances.labels[shown]
        if found.instances.masks is None:
            assert found.instances.boxes is not None
            boxes = found.instances.boxes[shown].cpu()
            colors = _colors(view, labels)
            return draw_bounding_boxes(image, boxes, colors=colors, width=2) if len(boxes) else image
        masks = found.instances.masks[shown].cpu()
    else:
        assert found.semantic is not None
        labels = torch.tensor([i for i, c in enumerate(view.classes) if c.id != 0])
        masks = found.semantic.cpu() == labels[:, None, None]
    return draw_segmentation_masks(image, masks, alpha, _colors(view, labels)) if len(masks) else image


def _colors(view: View, labels: Tensor) -> list[str | tuple[int, int, int]]:
    return [view.classes[label].color for label in labels.tolist()]


def _paint_video(predictor: Predictor, source: Path, target: Path, channels: int) -> None:
    try:
        with atomic_path(target) as partial, av.open(source) as reader, av.open(partial, "w") as writer:
            stream = reader.streams.video[0]
            sink = writer.add_stream("h264", rate=stream.average_rate or 25)
            # H.264 stores colours at half the resolution
            sink.width, sink.height = stream.width // 2 * 2, stream.height // 2 * 2
            sink.pix_fmt = "yuv420p"
            for frame in reader.decode(stream):
                image = image_tensor(frame.to_ndarray(format="rgb24")[: sink.height, : sink.width])
                if channels == 1:
                    image = image_tensor(frame.to_ndarray(format="gray")[: sink.height, : sink.width, None])
                painted = _painted(predictor, image).permute(1, 2, 0).contiguous().numpy()
                writer.mux(sink.encode(av.VideoFrame.from_ndarray(painted, format="rgb24")))
            writer.mux(sink.encode())
    except (av.FFmpegError, IndexError, UnicodeDecodeError) as error:  # no video stream; damaged metadata
        raise SegbenchError(
            f"is neither an image nor a video that can be read ({error})",
            where=source,
            remedy="convert it with ffmpeg, or leave it out",
        ) from error
