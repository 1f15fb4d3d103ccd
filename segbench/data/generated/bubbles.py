"""Translucent bubbles in front of a mottled backlight: instance truth, with masks that overlap.

Truth: the whole mask of each bubble inside of the image, also where a nearer one covers it. Spots of light
and specks of dirt are distractors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from segbench.contract.view import Category
from segbench.data.dataset import Archives, Converted
from segbench.data.generated.scene import (
    FINE,
    Size,
    around,
    at_centres,
    coordinates,
    develop,
    generate,
    noise,
)
from segbench.data.generated.scene import Options as Options  # what `convert` takes

BUBBLE = Category(id=1, name="bubble", isthing=True, color=(60, 150, 220))


@dataclass(frozen=True)
class _Bubble:
    row: float
    column: float
    radius: float
    """Mean radius. The outline is r(angle) = radius (1 + sum of amplitude cos(order angle + phase))."""
    waves: tuple[tuple[int, float, float], ...]
    """Order, amplitude, phase."""
    tint: np.ndarray


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Generate the dataset. Options: see `Options`."""
    return generate(options, [BUBBLE], True, draw)


def draw(rng: np.random.Generator, size: Size) -> tuple[np.ndarray, dict[str, Any]]:
    """Draw an image (H x W x 3 uint8) and its truth `instances`, one mask per bubble."""
    unit = min(size) / 160
    fine = _backlight(rng, size, unit)
    light = rng.uniform(-2.5, -0.6)  # angle to the light: from above, mostly from the left
    masks = [at_centres(_paint(fine, size, bubble, light, unit)) for bubble in _place(rng, size, unit)]
    instances = [
        {"category_id": BUBBLE.id, "segmentation": mask, "iscrowd": 0} for mask in masks if mask.any()
    ]
    return develop(rng, fine, rng.uniform(0.008, 0.03)), {"instances": instances}


def _backlight(rng: np.random.Generator, size: Size, unit: float) -> np.ndarray:
    """Return the samples of the backlight: a gradient of two hues, mottling, spots of light and dirt."""
    rows, columns = coordinates(size)
    shape = (rows.size, columns.size)
    hue = rng.uniform(0, 1)
    first, second = _colour(hue, 0.5, rng.uniform(0.75, 0.9)), _colour(hue + rng.normal(0, 0.12), 0.6, 0.5)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = math.sin(angle) * (rows / size[0] - 0.5) + math.cos(angle) * (columns / size[1] - 0.5) + 0.5
    ramp = np.clip(ramp + 0.13 * noise(rng, shape, 60 * unit * FINE, 2), 0, 1)[..., None]
    fine = (first * ramp + second * (1 - ramp)).astype(np.float32)
    fine *= 1 + 0.05 * noise(rng, shape, 16 * unit * FINE, 3)[..., None]
    for _ in range(rng.integers(2, 6)):  # spots out of focus: round and bright, but not bubbles
        radius = rng.uniform(4, 16) * unit
        window, down, right = around(size, rng.uniform(0, 1, 2) * size, radius)
        height = np.clip((radius - np.hypot(down, right)) / (0.5 * radius), 0, 1)
        fine[window] += rng.uniform(0.03, 0.1) * height[..., None]
    for _ in range(rng.integers(3, 10)):
        radius = rng.uniform(0.6, 1.4) * unit
        window, down, right = around(size, rng.uniform(0, 1, 2) * size, radius)
        fine[window] *= 1 - 0.5 * np.clip(radius - np.hypot(down, right), 0, 1)[..., None]
    return fine


def _colour(hue: float, saturation: float, value: float) -> np.ndarray:
    """Return RGB in 0..1 on a smooth hue circle."""
    wheel = 0.5 + 0.5 * np.cos(2 * np.pi * (hue - np.array([0, 1 / 3, 2 / 3])))
    return value * (1 - saturation + saturation * wheel)


def _place(rng: np.random.Generator, size: Size, unit: float) -> list[_Bubble]:
    """Place bubbles, from far to near. Many touch or overlap, but none covers the centre of another."""
    bubbles: list[_Bubble] = []
    wanted = rng.integers(9, 20) * size[0] * size[1] / (160 * unit) ** 2
    for _ in range(int(12 * wanted)):
        radius = unit * 5.5 * np.exp(rng.beta(1.1, 1.5) * np.log(28 / 5.5))
        row, column = rng.uniform(-0.02, 1.02, 2) * size
        if bubbles and rng.random() < 0.5:
            other, angle = bubbles[rng.integers(len(bubbles))], rng.uniform(0, 2 * np.pi)
            apart = rng.uniform(0.65, 1.05) * (radius + other.radius)
            row, column = other.row + apart * np.sin(angle), other.column + apart * np.cos(angle)
        within = 0 < row < size[0] and 0 < column < size[1]
        if within and all(_far_enough(b, row, column, radius) for b in bubbles):
            waves = tuple((k, rng.normal(0, 0.09) / k, rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4))
            tint = 1 - rng.uniform(0.04, 0.3) * _colour(rng.uniform(0, 1), 0.8, 1)
            bubbles.append(_Bubble(float(row), float(column), float(radius), waves, tint.astype(np.float32)))
        if len(bubbles) >= wanted:
            break
    return bubbles


def _far_enough(one: _Bubble, row: float, column: float, radius: float) -> bool:
    apart = np.hypot(row - one.row, column - one.column)
    return bool(apart > max(0.62 * (radius + one.radius), 1.05 * max(radius, one.radius)))


def _paint(fine: np.ndarray, size: Size, bubble: _Bubble, light: float, unit: float) -> np.ndarray:
    """Draw a bubble on `fine` in place: shadow, refraction, rim, highlights. Return its mask in samples."""
    radius = bubble.radius
    span, down, right = around(size, (bubble.row, bubble.column), 1.6 * radius + 4 * unit)
    window = fine[span]
    angle = np.arctan2(down, right)
    outline = 1 + sum(a * np.cos(k * angle + p) for k, a, p in bubble.waves)
    u = np.hypot(down, right) / (radius * outline)  # 0 at the centre, 1 on the outline
    inside = u < 1

    light_down, light_right = math.sin(light), math.cos(light)
    shift = 0.2 * radius + unit
    shade = np.hypot(down + light_down * shift, right + light_right * shift) / radius
    window *= 1 - 0.3 * (np.clip((1.3 - shade) / 0.5, 0, 1) * ~inside)[..., None]

    bend = 0.75 - 0.9 * np.clip(u, 0, 1) ** 4  # a lens: the middle is magnified, the rim mirrored
    source_row = ((bubble.row + down * bend) * FINE).clip(0, fine.shape[0] - 1).astype(int)
    source_column = ((bubble.column + right * bend) * FINE).clip(0, fine.shape[1] - 1).astype(int)
    body = (0.5 * fine[source_row, source_column] + 0.5 * window) * bubble.tint

    lit = (down * light_down + right * light_right) / radius  # 1 at the rim that faces the light, -1 opposite
    rim = np.exp(-(((1 - u) / max(0.09, 1.1 * unit / radius)) ** 2))
    body *= ((1 - rim * (0.5 - 0.25 * lit)) * (1 - 0.25 * np.clip(lit, 0, 1) * u**2))[..., None]
    glow = 0.45 * np.exp(-(((u - 0.68) / 0.18) ** 2)) * np.clip(-lit - 0.05, 0, 1)
    glow += 0.5 * np.exp(-(((u - 0.86) / 0.06) ** 2)) * np.clip(lit - 0.35, 0, 1)
    along = down * light_down + right * light_right - 0.5 * radius
    across = down * light_right - right * light_down
    spot = (along / (0.1 * radius)) ** 2 + (across / (0.19 * radius)) ** 2
    body += (glow + 0.85 * np.clip(1.6 - spot, 0, 1))[..., None]

    window[inside] = body[inside]
    mask = np.zeros(fine.shape[:2], bool)
    mask[span] = inside
    return mask
