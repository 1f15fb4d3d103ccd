"""Cars, persons and trees: their positions, their drawing and their shadows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from segbench.data.generated.scene import FINE, Size
from segbench.data.generated.street_camera import Camera, Canvas, Colour, Light
from segbench.data.generated.street_scenery import Layout

GLASS, RUBBER = np.array([0.16, 0.2, 0.24]), np.array([0.06, 0.06, 0.07])


@dataclass(frozen=True)
class Car:
    x: float
    z: float
    oncoming: bool
    paint: Colour
    size: float
    """Size relative to a car of 4.1 x 1.75 x 1.47 m."""

    category: ClassVar[str] = "car"
    # (distance from the rear, height) of the roof line and of the side windows
    profile: ClassVar = np.array(
        [(0, 0.28), (0, 0.75), (0.1, 0.92), (0.6, 1.42), (1.9, 1.47), (2.9, 0.98), (4, 0.82), (4.1, 0.28)]
    )
    windows: ClassVar = np.array([(0.3, 0.95), (0.72, 1.33), (1.85, 1.38), (2.62, 0.98)])
    wheels: ClassVar = (0.78, 3.25)
    length: ClassVar = 4.1

    @property
    def extent(self) -> tuple[float, float]:
        """Half the width, and the height, in metres."""
        return 0.88 * self.size, 1.47 * self.size

    def footprints(self) -> Iterator[tuple[float, float, float, float]]:
        """Yield ellipses that cast shadows: height, centre ahead of z, half width, half depth, in metres."""
        for height in (0.0, 0.4, 0.8):
            yield height * self.size, 2.05 * self.size, 0.88 * self.size, 2.05 * self.size
        yield 1.4 * self.size, 1.4 * self.size, 0.7 * self.size, 1.0 * self.size

    def _points(self, outline: np.ndarray, side: float) -> np.ndarray:
        """Return the points of an outline on the left (-1) to right (1) side, near ones first."""
        along, height = outline.T
        if self.oncoming:
            along, height = (self.length - along)[::-1], height[::-1]
        half = np.where(height > 1.0, 0.68, 0.88)
        return np.stack([side * half, height, along], axis=1) * self.size + (self.x, 0, self.z)

    def _plate(self, left: float, right: float, low: float, high: float) -> np.ndarray:
        """Return a rectangle on the end that faces the camera."""
        corners = [(left, low, 0), (right, low, 0), (right, high, 0), (left, high, 0)]
        return np.array(corners) * self.size + (self.x, 0, self.z - 0.01)

    def draw(self, canvas: Canvas, camera: Camera, light: Light) -> None:
        def face(points: np.ndarray, colour: Colour, towards_sun: float) -> None:
            canvas.polygon(camera.project(points), light.on(colour, towards_sun))

        paint = np.asarray(self.paint)
        face(self._plate(-0.8, 0.8, 0.02, 0.4), RUBBER, 0.2)
        self._draw_top(face)
        side = -1 if self.x > 0 else 1
        if abs(self.x) > 0.88 * self.size:
            self._draw_side(face, side, 0.9 if side == light.side else 0.1)
        for left, right in ((-0.82, -0.57), (0.57, 0.82)):
            face(self._plate(left, right, 0.0, 0.3), RUBBER, 0.5)
            lamp = (1.3, 1.25, 1.05) if self.oncoming else (1.0, 0.1, 0.08)
            canvas.polygon(camera.project(self._plate(left, right, 0.62, 0.76)), lamp)
        face(self._plate(-0.85, 0.85, 0.3, 0.42), paint * 0.45, 0.4)
        face(self._plate(-0.26, 0.26, 0.46, 0.58), (0.9, 0.9, 0.85), 0.5)

    def _draw_top(self, face: Callable[[np.ndarray, Colour, float], None]) -> None:
        """Draw the faces along the roof line, from far to near."""
        left, right = self._points(self.profile, -1), self._points(self.profile, 1)
        for i in reversed(range(len(left) - 1)):
            rise, run = np.abs(left[i + 1, 1:] - left[i, 1:])
            steep = rise / np.hypot(rise, run)
            is_glass = 0.4 < steep < 0.9 and max(left[i, 1], left[i + 1, 1]) > 1.3 * self.size
            quad = np.stack([left[i], right[i], right[i + 1], left[i + 1]])
            face(quad, GLASS * 1.5 if is_glass else self.paint, 0.55 if is_glass else 1 - 0.6 * steep)

    def _draw_side(self, face: Callable[[np.ndarray, Colour, float], None], side: int, lit: float) -> None:
        face(self._points(self.profile, side), np.asarray(self.paint) * 0.92, lit)
        face(self._points(self.windows, side * 1.01), GLASS, 0.4 + 0.4 * lit)
        angle = np.linspace(0, 2 * np.pi, 18)
        for hub in self.wheels:
            for radius, colour in ((0.34, RUBBER), (0.19, (0.5, 0.5, 0.52))):
                rim = np.stack([hub + radius * np.cos(angle), 0.33 + radius * np.sin(angle)], axis=1)
                face(self._points(rim, side * 1.02), colour, 0.5)


@dataclass(frozen=True)
class Person:
    x: float
    z: float
    tall: float
    stride: float
    """Half the distance between the feet, relative to the height. Its sign tells which foot is ahead."""
    top: Colour
    bottom: Colour
    skin: Colour
    hair: Colour
    coat: float
    """Length of the coat or skirt below the hip, relative to the height."""

    category: ClassVar[str] = "person"

    @property
    def extent(self) -> tuple[float, float]:
        return 0.17 * self.tall, self.tall

    def footprints(self) -> Iterator[tuple[float, float, float, float]]:
        for share in np.linspace(0, 1, 9):
            yield share * self.tall, 0, 0.1 * self.tall, 0.09 * self.tall

    def draw(self, canvas: Canvas, camera: Camera, light: Light) -> None:
        (column, ground), (_, crown) = camera.project([(self.x, 0, self.z), (self.x, self.tall, self.z)])
        unit = ground - crown

        def at(right: float, up: float) -> tuple[float, float]:
            return column + right * unit, ground - up * unit

        def outline(*corners: tuple[float, float]) -> np.ndarray:
            return np.array([at(*c) for c in corners])

        dark, bright = light.on(self.bottom, 0.3), light.on(self.bottom, 0.7)
        for sign, colour in ((-1, dark), (1, bright)):
            knee = at(sign * self.stride * 0.6 + 0.01, 0.27)
            foot = at(sign * self.stride, 0.03)
            canvas.limb(at(sign * 0.045, 0.5), knee, 0.095 * unit, colour)
            canvas.limb(knee, foot, 0.075 * unit, colour)
            canvas.ellipse(
                foot[0] + 0.02 * unit, foot[1] + 0.01 * unit, 0.055 * unit, 0.025 * unit, (0.1, 0.08, 0.08)
            )
        far, near = light.on(self.top, 0.15), light.on(self.top, 0.55)
        swing = self.stride * 0.9
        canvas.limb(at(-0.125, 0.78), at(-0.15 + swing, 0.5), 0.065 * unit, far)
        hem = 0.48 - self.coat
        flare = 0.105 + 0.25 * self.coat
        canvas.polygon(
            outline((-0.09, 0.83), (0.09, 0.83), (0.145, 0.78), (flare, hem), (-flare, hem), (-0.145, 0.78)),
            near,
        )
        lit = light.side
        canvas.polygon(
            outline((lit * 0.03, 0.82), (lit * 0.14, 0.78), (lit * 0.1, hem), (lit * 0.03, hem)),
            light.on(self.top, 1.0),
        )
        canvas.limb(at(0.13, 0.77), at(0.15 - swing, 0.5), 0.065 * unit, light.on(self.top, 0.35))
        for hand in (at(-0.15 + swing, 0.48), at(0.15 - swing, 0.48)):
            canvas.ellipse(*hand, 0.028 * unit, 0.028 * unit, light.on(self.skin, 0.6))
        canvas.ellipse(*at(0, 0.85), 0.035 * unit, 0.05 * unit, light.on(self.skin, 0.2))
        canvas.ellipse(*at(0, 0.935), 0.062 * unit, 0.068 * unit, light.on(self.hair, 0.6))
        canvas.ellipse(*at(0.012 * lit, 0.915), 0.047 * unit, 0.05 * unit, light.on(self.skin, 0.75))


@dataclass(frozen=True)
class Tree:
    x: float
    z: float
    tall: float
    wide: float
    """Half width of the crown, relative to the height."""
    leaf: Colour
    clumps: np.ndarray
    """N x 3: position right and up in the crown (-1 to 1), and a random number."""

    category: ClassVar[str] = "tree"

    @property
    def extent(self) -> tuple[float, float]:
        return self.wide * self.tall, self.tall

    def footprints(self) -> Iterator[tuple[float, float, float, float]]:
        for share in np.linspace(0, 0.35, 8):
            yield share * self.tall, 0, 0.03 * self.tall, 0.03 * self.tall
        for share, part in ((0.5, 0.8), (0.65, 1.0), (0.8, 0.8)):
            yield share * self.tall, 0, part * self.wide * self.tall, part * self.wide * self.tall

    def draw(self, canvas: Canvas, camera: Camera, light: Light) -> None:
        (column, ground), (_, crown) = camera.project([(self.x, 0, self.z), (self.x, self.tall, self.z)])
        unit = ground - crown
        bark = light.on((0.32, 0.24, 0.18), 0.3)
        trunk = [(-0.032, 0), (0.032, 0), (0.018, 0.5), (-0.018, 0.5)]
        canvas.polygon(np.array([(column + x * unit, ground - y * unit) for x, y in trunk]), bark)
        canvas.limb(
            (column, ground - 0.32 * unit), (column + 0.12 * unit, ground - 0.5 * unit), 0.02 * unit, bark
        )
        half = 0.33
        for layer, (size, shift, glow) in enumerate(
            ((0.13, 0.0, 0.0), (0.095, 0.35, 0.45), (0.05, 0.7, 0.9))
        ):
            for right, up, chance in self.clumps:
                if layer == 2 and chance < 0.35:
                    continue
                facing = (
                    0.5 + 0.3 * up + 0.3 * right * light.side
                )  # the lower side away from the sun stays dark
                radius = size * (0.75 + 0.5 * chance) * unit
                canvas.ellipse(
                    column + (right * self.wide + light.side * shift * 0.045) * 0.85 * unit,
                    ground - (1 - half + up * half * 0.78 + shift * 0.045) * unit,
                    radius,
                    radius * 0.85,
                    light.on(
                        np.asarray(self.leaf) * (0.6 + 0.45 * chance * glow + 0.25 * glow), glow * facing
                    ),
                )


Thing = Car | Person | Tree

CAR_PAINTS = (
    (0.75, 0.1, 0.1), (0.12, 0.22, 0.5), (0.85, 0.85, 0.86), (0.14, 0.14, 0.16), (0.5, 0.52, 0.55),
    (0.9, 0.7, 0.12), (0.15, 0.4, 0.3), (0.55, 0.3, 0.2), (0.3, 0.5, 0.7),
)  # fmt: skip
LEAVES = ((0.3, 0.5, 0.2), (0.42, 0.56, 0.2), (0.22, 0.42, 0.24), (0.75, 0.5, 0.16), (0.45, 0.52, 0.28))
SKINS = ((0.95, 0.76, 0.64), (0.8, 0.6, 0.46), (0.55, 0.38, 0.28), (0.38, 0.26, 0.2))


def _pick(rng: np.random.Generator, colours: tuple[tuple[float, ...], ...]) -> np.ndarray:
    return np.array(colours[rng.integers(len(colours))]) * rng.uniform(0.85, 1.15)


def _car(rng: np.random.Generator, street: Layout) -> Car:
    oncoming = bool(rng.random() < 0.5)
    lane = street.road / 2 if rng.random() < 0.6 else street.road - 1.2
    x = (-lane if oncoming else lane) + rng.normal(0, 0.2)
    return Car(x, 5 + 24 * rng.beta(1.1, 1.6), oncoming, _pick(rng, CAR_PAINTS), rng.uniform(0.93, 1.12))


def _person(rng: np.random.Generator, street: Layout) -> Person:
    side = int(rng.choice([-1, 1]))
    if rng.random() < 0.75:
        x, z = side * rng.uniform(street.road + 0.5, street.walls[side] - 0.5), 4 + 8 * rng.beta(1, 1.6)
    else:
        x, z = rng.uniform(-1, 1) * street.road, street.crossing + rng.uniform(-1, 1)
    return Person(
        x,
        z,
        tall=rng.uniform(1.5, 1.92),
        stride=rng.choice([-1, 1]) * rng.uniform(0.03, 0.13),
        top=rng.uniform(0.1, 0.95, 3),
        bottom=rng.uniform(0.08, 0.5, 3),
        skin=_pick(rng, SKINS),
        hair=rng.uniform(0.05, 0.45) * np.array([1, 0.75, 0.5]),
        coat=rng.choice([0.0, 0.04, 0.18]),
    )


def _tree(rng: np.random.Generator, street: Layout) -> Tree:
    side = int(rng.choice([-1, 1]))
    angle, distance = rng.uniform(0, 2 * np.pi, 34), np.sqrt(rng.uniform(0, 1, 34)) * 0.95
    clumps = np.stack([distance * np.cos(angle), distance * np.sin(angle), rng.uniform(0, 1, 34)], 1)
    x = side * (street.road + rng.uniform(0.6, 1.3))
    return Tree(
        x, rng.uniform(8, 26), rng.uniform(3.8, 6.5), rng.uniform(0.2, 0.34), _pick(rng, LEAVES), clumps
    )


def place_things(rng: np.random.Generator, size: Size, camera: Camera, street: Layout) -> list[Thing]:
    """Place things, from far to near. The boxes of nearer things cover at most half of each."""
    wanted: list[Thing] = [_car(rng, street) for _ in range(rng.integers(2, 6))]
    wanted += [_person(rng, street) for _ in range(rng.integers(2, 6))]
    wanted += [_tree(rng, street) for _ in range(rng.integers(1, 5))]
    covered = np.zeros(size, bool)
    placed: list[Thing] = []
    for thing in sorted(wanted, key=lambda t: t.z):
        half, height = thing.extent
        corners = camera.project([(thing.x - half, height, thing.z), (thing.x + half, 0, thing.z)]) / FINE
        (left, top), (right, bottom) = corners.round().astype(int)
        area = (right - left) * (bottom - top)
        box = np.s_[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        visible = np.count_nonzero(~covered[box])
        if visible > 0.5 * area and visible > size[0] * size[1] / 500:
            covered[box] = True
            placed.append(thing)
    return placed[::-1]
