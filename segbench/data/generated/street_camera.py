"""The camera, the light of a time of day, and the canvas on which image and truth are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

Colour = Sequence[float] | np.ndarray
"""RGB in 0..1."""


@dataclass(frozen=True)
class Camera:
    """A camera that looks along the street.

    Positions in the scene are in metres: x to the right, y up from the ground, z ahead. Positions in the
    image are in samples.
    """

    focal: float
    column: float
    row: float
    """Vanishing point."""
    height: float

    def project(self, points: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
        """Project N x 3 (x, y, z) to N x 2 (column, row)."""
        x, y, z = np.asarray(points, float).T
        scale = self.focal / z
        return np.stack([self.column + x * scale, self.row + (self.height - y) * scale], axis=1)


@dataclass(frozen=True)
class Light:
    """Colours of a time of day."""

    zenith: Colour
    horizon: Colour
    sun: Colour
    """Factor for faces in the sun."""
    shade: Colour
    """Factor for faces in the shade."""
    shadow: float
    """Darkness of cast shadows."""
    windows: float
    """Share of lit windows."""
    clouds: float
    """Cover, 0 to 1."""
    reach: float
    """Length of a shadow across the street, relative to the height of the object."""
    side: int = 1
    """Position of the sun: -1 left, 1 right."""

    def on(self, colour: Colour, towards_sun: float) -> np.ndarray:
        """Return the colour of a face. `towards_sun`: 1 in the sun, 0 in the shade."""
        sun, shade = np.asarray(self.sun, np.float32), np.asarray(self.shade, np.float32)
        return np.asarray(colour, np.float32) * (towards_sun * sun + (1 - towards_sun) * shade)

    def through_air(self, colour: np.ndarray, distance: float | np.ndarray) -> np.ndarray:
        """Return a colour (... x 3) behind `distance` metres of haze."""
        clear = np.exp(-np.asarray(distance, np.float32) / 130)[..., None]
        return colour * clear + np.asarray(self.horizon, np.float32) * (1 - clear)


NOON = Light(
    zenith=(0.25, 0.47, 0.82),
    horizon=(0.72, 0.84, 0.93),
    sun=(1.08, 1.05, 1.0),
    shade=(0.66, 0.7, 0.78),
    shadow=0.5,
    windows=0.0,
    clouds=0.45,
    reach=0.4,
)
EVENING = Light(
    zenith=(0.3, 0.37, 0.62),
    horizon=(1.0, 0.72, 0.47),
    sun=(1.15, 0.92, 0.68),
    shade=(0.52, 0.5, 0.6),
    shadow=0.42,
    windows=0.15,
    clouds=0.5,
    reach=1.1,
)
OVERCAST = Light(
    zenith=(0.6, 0.64, 0.69),
    horizon=(0.8, 0.82, 0.83),
    sun=(0.86, 0.88, 0.9),
    shade=(0.7, 0.72, 0.75),
    shadow=0.18,
    windows=0.1,
    clouds=0.9,
    reach=0.2,
)
DUSK = Light(
    zenith=(0.09, 0.12, 0.27),
    horizon=(0.5, 0.38, 0.46),
    sun=(0.54, 0.52, 0.62),
    shade=(0.36, 0.37, 0.5),
    shadow=0.12,
    windows=0.45,
    clouds=0.4,
    reach=0.3,
)


def draw_light(rng: np.random.Generator) -> Light:
    """Draw a time of day and the side of the sun."""
    time = (NOON, EVENING, OVERCAST, DUSK)[rng.choice(4, p=[0.35, 0.25, 0.2, 0.2])]
    return replace(time, side=int(rng.choice([-1, 1])))


class Canvas:
    """Draws shapes on the image and, as the current `ident`, on the truth."""

    def __init__(self, fine: np.ndarray, idents: np.ndarray) -> None:
        self._image = Image.fromarray((fine.clip(0, 1) * 255).astype(np.uint8))
        self._idents = Image.fromarray(idents.astype(np.int32))
        self._pen, self._marker = ImageDraw.Draw(self._image), ImageDraw.Draw(self._idents)
        self.ident = 0

    def polygon(self, points: np.ndarray, colour: Colour) -> None:
        """Draw a polygon of N x 2 (column, row)."""
        corners = [tuple(p) for p in points.tolist()]
        self._pen.polygon(corners, fill=_bytes(colour))
        self._marker.polygon(corners, fill=self.ident)

    def ellipse(
        self, column: float, row: float, radius_column: float, radius_row: float, colour: Colour
    ) -> None:
        box = (column - radius_column, row - radius_row, column + radius_column, row + radius_row)
        self._pen.ellipse(box, fill=_bytes(colour))
        self._marker.ellipse(box, fill=self.ident)

    def limb(self, start: Sequence[float], end: Sequence[float], width: float, colour: Colour) -> None:
        """Draw a straight bar with round ends. Positions are (column, row)."""
        for pen, fill in ((self._pen, _bytes(colour)), (self._marker, self.ident)):
            pen.line([*start, *end], fill=fill, width=max(1, round(width)))
        for column, row in (start, end):
            self.ellipse(column, row, width / 2, width / 2, colour)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the image in 0..1 and the map of idents, both in samples."""
        return np.asarray(self._image, np.float32) / np.float32(255), np.asarray(self._idents)


def _bytes(colour: Colour) -> tuple[int, ...]:
    return tuple(int(255 * min(max(c, 0.0), 1.0)) for c in colour)
