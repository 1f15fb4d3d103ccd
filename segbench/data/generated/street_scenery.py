"""Sky, ground and houses of the street, computed by intersecting the ray of each sample with planes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segbench.data.generated.scene import noise
from segbench.data.generated.street_camera import Camera, Colour, Light

FARTHEST = 120.0
"""Distance at which the street ends before the skyline, in metres."""
WALLS = (
    (0.72, 0.52, 0.42),
    (0.82, 0.74, 0.6),
    (0.62, 0.36, 0.3),
    (0.75, 0.73, 0.7),
    (0.86, 0.82, 0.72),
    (0.55, 0.5, 0.48),
    (0.58, 0.64, 0.62),
    (0.8, 0.62, 0.48),
)


@dataclass(frozen=True)
class House:
    near: float
    far: float
    """Distances of its ends along the street."""
    height: float
    wall: Colour
    bay: float
    storey: float
    """Spacing of windows across and up."""
    awning: Colour
    cells: np.ndarray
    """Random number of each window, 32 x 16."""


@dataclass(frozen=True)
class Layout:
    """Half widths in metres: of the roadway, and of the street between the houses on the left and right."""

    road: float
    walls: dict[int, float]
    houses: dict[int, list[House]]
    crossing: float
    """Distance of the zebra crossing."""


def lay_out(rng: np.random.Generator) -> Layout:
    """Draw the layout of a street."""
    road = rng.uniform(3.4, 5.0)
    houses: dict[int, list[House]] = {}
    for side in (-1, 1):
        near, row = rng.uniform(-6, 2), []
        while near < FARTHEST:
            far = near + rng.uniform(7, 19)
            row.append(_house(rng, near, far, rng.uniform(4.5, 16)))
            near = far + (rng.uniform(3, 9) if rng.random() < 0.25 else 0)
        houses[side] = row
    return Layout(road, {s: road + rng.uniform(2.6, 5.5) for s in (-1, 1)}, houses, rng.uniform(7, 22))


def _house(rng: np.random.Generator, near: float, far: float, height: float) -> House:
    wall = np.array(WALLS[rng.integers(len(WALLS))]) * rng.uniform(0.8, 1.1)
    bay, storey, awning = rng.uniform(1.9, 3.2), rng.uniform(2.8, 3.6), rng.uniform(0.15, 0.8, 3)
    return House(near, far, height, wall, bay, storey, awning, rng.random((32, 16), dtype=np.float32))


def paint_sky(rng: np.random.Generator, fine: np.ndarray, camera: Camera, light: Light) -> None:
    """Paint the sky with clouds, in place."""
    height, width = min(int(camera.row) + 8, len(fine)), fine.shape[1]
    zenith, horizon, sun = (np.asarray(c, np.float32) for c in (light.zenith, light.horizon, light.sun))
    up = np.linspace(1, 0, height, dtype=np.float32)[:, None, None] ** 0.8
    centre = width * (0.5 + light.side * rng.uniform(0.1, 0.45))
    across = (np.arange(width, dtype=np.float32) - float(centre)) / (0.3 * width)
    glow = np.exp(-(across**2))[None, :, None] * (1 - up) ** 1.5
    sky = zenith * up + horizon * (1 - up) + 0.3 * glow * sun
    thickness = noise(rng, (height, width), (0.15 * width, 0.45 * width), 5)
    cover = 0.85 * np.clip((thickness + 2.4 * light.clouds - 1.2) / 1.1, 0, 1)[..., None] ** 1.2
    above = thickness[np.maximum(np.arange(height) - 6, 0)]
    bright = np.clip(0.75 + 0.25 * (above - thickness), 0.4, 1.1)[..., None]
    fine[:height] = sky * (1 - cover) + cover * bright * (0.45 + 0.55 * horizon) * (0.55 + 0.45 * sun)


def paint_ground(
    rng: np.random.Generator, fine: np.ndarray, camera: Camera, light: Light, street: Layout
) -> int:
    """Paint the ground, in place. Return its first row."""
    top = int(np.ceil(camera.row + camera.focal * camera.height / FARTHEST))
    rows = np.arange(top, len(fine), dtype=np.float32)[:, None] + 0.5
    z = camera.focal * camera.height / (rows - camera.row)
    x = (np.arange(fine.shape[1], dtype=np.float32)[None, :] + 0.5 - camera.column) * z / camera.focal
    detail = np.exp(-z / 14)
    grain = rng.standard_normal((128, 128), dtype=np.float32)
    rough = grain[(x * 9).astype(int) % 128, (z * 9).astype(int) % 128] * detail
    patches = noise(rng, x.shape, 0.25 * x.shape[1], 3)
    across = np.abs(x)

    asphalt = 0.33 + 0.025 * rough + 0.02 * patches
    tracks = np.exp(-(((across - 0.5 * street.road) % 1.6 - 0.8) ** 2) / 0.08) * (across < street.road)
    asphalt -= 0.02 * tracks
    ground = asphalt[..., None] * np.array([0.97, 0.99, 1.04], np.float32)
    line = (across < 0.08) & (z % 5 < 2.6) | (np.abs(across - street.road + 0.3) < 0.07)
    zebra = (np.abs(z - street.crossing) < 1.5) & (x % 1.1 < 0.55) & (across < street.road - 0.4)
    ground[line | zebra] = (0.74 + 0.05 * rough + 0.04 * patches)[line | zebra, None]
    gap = (x % 0.9 < 0.05) | (z % 0.9 < 0.05)
    pavement = 0.52 + 0.02 * rough + 0.025 * patches - 0.1 * gap * detail
    beyond = across > street.road
    ground[beyond] = pavement[beyond, None] * np.array([1.04, 1.0, 0.94], np.float32)
    kerb = beyond & (across < street.road + 0.22)
    ground[kerb] = 0.64

    wall = street.walls[light.side]
    near, far, height = np.array([(h.near, h.far, h.height) for h in street.houses[light.side]]).T
    index = np.searchsorted(near, z, side="right").clip(1) - 1
    shaded = (wall - light.side * x < light.reach * height[index]) & (z < far[index])
    ground *= light.on((1, 1, 1), 1.0) * np.where(shaded, 1 - light.shadow, 1)[..., None]
    for side, at in street.walls.items():
        ground *= (1 - 0.3 * np.exp(-np.abs(at - side * x) / 0.7))[..., None]
    fine[top:] = light.through_air(ground, z)
    return top


def paint_skyline(rng: np.random.Generator, painter: HousePainter) -> None:
    """Paint hazy blocks behind the end of the street."""
    x = -160.0
    while x < 160:
        width = rng.uniform(8, 26)
        if rng.random() < 0.85:
            house = _house(rng, 0, 0, rng.uniform(6, 26))
            painter.front(house, x, x + width, 0.8 * FARTHEST, 0.5)
        x += width


class HousePainter:
    """Paints walls on `fine` and marks them in `idents`, near walls first: none covers another one."""

    def __init__(
        self, fine: np.ndarray, idents: np.ndarray, ident: int, camera: Camera, light: Light
    ) -> None:
        self.fine, self.idents, self.ident, self.camera, self.light = fine, idents, ident, camera, light

    def row_of_houses(self, side: int, wall: float, houses: list[House]) -> None:
        """Paint the walls along the street, and the ends that face the camera."""
        for house in houses:
            self._along(house, side, wall)
            if house.near > 2:
                left, right = sorted((side * wall, side * (wall + 30)))
                self.front(house, left, right, house.near, 0.35)

    def front(self, house: House, left: float, right: float, z: float, towards_sun: float) -> None:
        """Paint a wall across the street at distance `z`."""
        scale = self.camera.focal / z
        columns = self._columns(self.camera.column + left * scale, self.camera.column + right * scale)
        x = (columns + 0.5 - self.camera.column) / scale
        self._wall(house, columns, x - left, np.full(len(columns), z, np.float32), towards_sun)

    def _along(self, house: House, side: int, wall: float) -> None:
        scale = self.camera.focal * wall
        ends = sorted(self.camera.column + side * scale / max(z, 0.5) for z in (house.near, house.far))
        columns = self._columns(*ends)
        z = scale / np.maximum(np.abs(columns + 0.5 - self.camera.column), 1e-6)
        self._wall(house, columns, z - house.near, z, 1.0 if side != self.light.side else 0.0)

    def _columns(self, left: float, right: float) -> np.ndarray:
        """Return the columns whose centre is between two positions."""
        first, last = (int(np.clip(np.ceil(at - 0.5), 0, self.fine.shape[1])) for at in (left, right))
        return np.arange(first, last, dtype=np.float32)

    def _wall(
        self, house: House, columns: np.ndarray, along: np.ndarray, z: np.ndarray, towards_sun: float
    ) -> None:
        """Paint a wall. `along` and `z`: position on the wall and distance of each column, in metres."""
        if not len(columns):
            return
        camera = self.camera
        top = int(
            np.clip(camera.row + (camera.height - house.height) * camera.focal / z.min(), 0, camera.row)
        )
        bottom = int(np.clip(camera.row + camera.height * camera.focal / z.min() + 2, 0, len(self.fine)))
        rows = np.arange(top, bottom, dtype=np.float32)[:, None]
        y = camera.height - (rows + 0.5 - camera.row) * z / camera.focal
        window = np.s_[top:bottom, int(columns[0]) : int(columns[-1]) + 1]
        seen = (y > 0) & (y < house.height) & (self.idents[window] != self.ident)
        at = np.nonzero(seen)[1]
        colour = self._facade(house, along[at], y[seen], towards_sun)
        self.fine[window][seen] = self.light.through_air(colour, z[at])
        self.idents[window][seen] = self.ident

    def _facade(self, house: House, along: np.ndarray, y: np.ndarray, towards_sun: float) -> np.ndarray:
        """Return the colours (N x 3) of N positions on a wall."""
        light = self.light
        bay, storey = np.floor(along / house.bay).astype(int), np.floor(y / house.storey).astype(int)
        u, v = along / house.bay - bay, y / house.storey - storey
        cell = house.cells[bay % 32, storey % 16]
        upper = (storey >= 1) & (y < house.height - 0.5)
        shop = storey == 0
        frame = upper & (np.abs(u - 0.5) < 0.31) & (np.abs(v - 0.52) < 0.33)
        pane = frame & (np.abs(u - 0.5) < 0.26) & (np.abs(v - 0.53) < 0.28) & (np.abs(u - 0.5) > 0.02)
        pane |= shop & (np.abs(u - 0.5) < 0.4) & (v > 0.16) & (v < 0.7)

        shading = (0.8 + 0.2 * np.clip(y / 5, 0, 1)) * (1 - 0.05 * ((y % 0.3) < 0.06))
        wall = light.on(house.wall, towards_sun)
        colour = shading[:, None] * wall
        colour[y > house.height - 0.45] = wall * 1.15
        colour[frame] = wall * 0.4 + 0.45 * light.on((1, 1, 1), towards_sun)
        reflection = np.clip(0.25 + 0.5 * cell + 0.25 * v, 0, 1)[pane, None]
        colour[pane] = light.on(0.12 + 0.42 * reflection * np.asarray(light.horizon), 0.5)
        lit = pane & (cell < light.windows)
        colour[lit] = np.array([1.0, 0.84, 0.5]) * (0.7 + 0.3 * cell[lit, None] / (light.windows + 1e-6))
        colour[shop & (v > 0.74) & (v < 0.93)] = light.on(house.awning, towards_sun)
        return colour
