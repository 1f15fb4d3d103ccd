"""Shared by all generated datasets: options, the random state of each image, supersampling, noise.

A scene is drawn with `FINE` x `FINE` samples per pixel. The pixel is their mean, and its truth is the middle
sample: what is at the centre of the pixel.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segbench.contract.view import Category
from segbench.data.dataset import Converted, Sample
from segbench.errors import SegbenchError

FINE = 3
"""Samples per pixel and axis."""
SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
Size = tuple[int, int]
Side = Annotated[int, Field(ge=32, le=4096)]


class Options(BaseModel):
    """Options of a generated dataset."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the generated images."""
    size: tuple[Side, Side]
    """Height and width in pixels."""
    images: dict[SplitName, Annotated[int, Field(gt=0, le=99_999)]]
    """Number of images in each split; `val` is optional."""


def generate(
    options: dict[str, Any],
    categories: list[Category],
    background: bool,
    draw: Callable[[np.random.Generator, Size], tuple[np.ndarray, dict[str, Any]]],
) -> Converted:
    """Make a dataset of generated images, which are drawn one by one when they are read.

    The random state of an image depends only on seed, split and index, not on the number of images.

    Args:
        options: see `Options`.
        categories, background: see `Converted`.
        draw: `draw(rng, size)` returns an image (H x W or H x W x 3 uint8) and truth, as fields of `Sample`.

    Raises:
        SegbenchError: an option is not valid.
    """
    try:
        checked = Options.model_validate(options)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}" for e in error.errors()
        )
        raise SegbenchError(
            faults,
            where="options of a generated dataset",
            remedy="give seed: N, size: [height, width] of 32 to 4096, images: {train: N, test: N}",
        ) from error
    if missing := {"train", "test"} - checked.images.keys():
        raise SegbenchError(
            f"images = {checked.images} lacks {' and '.join(sorted(missing))}",
            where="options of a generated dataset",
            remedy="give images: {train: N, test: N}; val is optional",
        )

    def samples() -> Iterator[Sample]:
        for number, split in enumerate(SPLITS):
            for index in range(checked.images.get(split, 0)):
                rng = np.random.default_rng([checked.seed, number, index])
                image, truth = draw(rng, checked.size)
                yield Sample(split, f"{split}_{index:05d}", _png(image), ".png", **truth)

    return Converted(
        categories, background, "test", samples(), orientation="stored", partial=True, division="own"
    )


def coordinates(size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows (fine height x 1) and columns (1 x fine width) of all samples, in pixels."""
    rows, columns = ((np.arange(n * FINE, dtype=np.float32) + 0.5) / FINE for n in size)
    return rows[:, None], columns[None, :]


def around(
    size: Size, centre: Sequence[float] | np.ndarray, reach: float
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """Return the slices of samples within `reach` of `centre`, and their offsets down and right in pixels."""
    spans = tuple(
        slice(*(int(np.clip((at + d) * FINE, 0, n * FINE)) for d in (-reach, reach)))
        for at, n in zip(centre, size)
    )
    down, right = (
        (np.arange(span.start, span.stop, dtype=np.float32) + 0.5) / FINE - float(at)
        for span, at in zip(spans, centre)
    )
    return (spans[0], spans[1]), down[:, None], right[None, :]


def develop(rng: np.random.Generator, fine: np.ndarray, grain: float) -> np.ndarray:
    """Simulate a camera: average the samples of each pixel, then add noise.

    Args:
        rng: random generator.
        fine: samples in 0..1, fine height x fine width [x C].
        grain: standard deviation of the noise, relative to the square root of the light.

    Returns:
        H x W [x C] uint8.
    """
    image = sum(fine[i::FINE, j::FINE] for i in range(FINE) for j in range(FINE)) / FINE**2
    image = np.clip(image, 0, 1)
    image += grain * np.sqrt(image + 0.05) * rng.standard_normal(image.shape, dtype=np.float32)
    return (image.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def at_centres(fine: np.ndarray) -> np.ndarray:
    """Return the middle sample of each pixel: fine height x fine width x ... -> H x W x ..."""
    return np.ascontiguousarray(fine[FINE // 2 :: FINE, FINE // 2 :: FINE])


def noise(
    rng: np.random.Generator, shape: Size, cell: float | tuple[float, float], octaves: int = 1
) -> np.ndarray:
    """Return a smooth random field with a standard deviation of about 1.

    Args:
        rng: random generator.
        shape: height and width in samples.
        cell: longest wavelength in samples, or one for rows and one for columns.
        octaves: number of wavelengths; each is half the one before.
    """
    cells = cell if isinstance(cell, tuple) else (cell, cell)
    field = np.zeros(shape, np.float32)
    for octave in range(octaves):
        grid = [max(2, round(n / c * 2**octave) + 1) for n, c in zip(shape, cells)]
        values = Image.fromarray(rng.standard_normal(grid, dtype=np.float32))
        field += np.asarray(values.resize(shape[::-1], Image.Resampling.BICUBIC)) / 2**octave
    return field * (1.5 / sum(4.0**-o for o in range(octaves)) ** 0.5)


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()
