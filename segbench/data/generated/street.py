"""A street in perspective at a random time of day: panoptic truth, without void.

Stuff: sky, road (the whole ground: roadway, markings, pavements), building. Things: car, person, tree.
Truth: the visible part of each segment. Shadows and lights belong to the surface that they fall on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from segbench.contract.view import Category
from segbench.data.dataset import Archives, Converted
from segbench.data.generated.scene import FINE, Size, at_centres, develop, generate, noise
from segbench.data.generated.scene import Options as Options  # what `convert` takes
from segbench.data.generated.street_camera import Camera, Canvas, Light, draw_light
from segbench.data.generated.street_scenery import (
    HousePainter,
    lay_out,
    paint_ground,
    paint_sky,
    paint_skyline,
)
from segbench.data.generated.street_things import Thing, place_things

CATEGORIES = [
    Category(id=1, name="sky", isthing=False, color=(120, 180, 230)),
    Category(id=2, name="road", isthing=False, color=(128, 96, 128)),
    Category(id=3, name="building", isthing=False, color=(190, 140, 90)),
    Category(id=4, name="car", isthing=True, color=(60, 80, 220)),
    Category(id=5, name="person", isthing=True, color=(220, 50, 60)),
    Category(id=6, name="tree", isthing=True, color=(70, 160, 60)),
]
ID = {c.name: c.id for c in CATEGORIES}


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Generate the dataset. Options: see `Options`."""
    return generate(options, CATEGORIES, False, draw)


def draw(rng: np.random.Generator, size: Size) -> tuple[np.ndarray, dict[str, Any]]:
    """Draw an image (H x W x 3 uint8) and its truth `panoptic`; the id of a stuff segment is its class."""
    height, width = size[0] * FINE, size[1] * FINE
    light = draw_light(rng)
    camera = Camera(
        focal=rng.uniform(0.55, 0.7) * width,
        column=rng.uniform(0.35, 0.65) * width,
        row=rng.uniform(0.4, 0.52) * height,
        height=rng.uniform(1.6, 2.4),
    )
    street = lay_out(rng)
    fine = np.zeros((height, width, 3), np.float32)
    segments = np.full((height, width), ID["sky"], np.int32)
    paint_sky(rng, fine, camera, light)
    top = paint_ground(rng, fine, camera, light, street)
    segments[top:] = ID["road"]
    things = place_things(rng, size, camera, street)
    _cast_shadows(fine[top:], top, things, camera, light)
    painter = HousePainter(fine, segments, ID["building"], camera, light)
    for side, wall in street.walls.items():
        painter.row_of_houses(side, wall, street.houses[side])
    paint_skyline(rng, painter)

    canvas = Canvas(fine, segments)
    categories = {c.id: c.id for c in CATEGORIES if not c.isthing}
    for ident, thing in enumerate(things, len(CATEGORIES) + 1):
        canvas.ident = ident
        categories[ident] = ID[thing.category]
        thing.draw(canvas, camera, light)
    fine, segments = canvas.arrays()
    fine *= (rng.uniform(0.88, 1.12) * (1 + 0.02 * noise(rng, (height, width), 12, 2)))[..., None]
    segments = at_centres(segments)
    segments_info = [
        {"id": int(i), "category_id": categories[int(i)], "iscrowd": 0} for i in np.unique(segments)
    ]
    return develop(rng, fine, rng.uniform(0.01, 0.03)), {"panoptic": (segments, segments_info)}


def _cast_shadows(ground: np.ndarray, top: int, things: list[Thing], camera: Camera, light: Light) -> None:
    """Darken `ground`, which starts at row `top`, in place."""
    mask = Image.new("L", ground.shape[1::-1])
    pen = ImageDraw.Draw(mask)
    angle = np.linspace(0, 2 * np.pi, 16)
    for thing in things:
        for up, ahead, half_width, half_depth in thing.footprints():
            x = thing.x - light.side * light.reach * up + half_width * np.cos(angle)
            z = thing.z + ahead + 0.3 * light.reach * up + half_depth * np.sin(angle)
            points = camera.project(np.stack([x, np.zeros(16), z.clip(0.8)], axis=1)) - (0, top)
            pen.polygon([tuple(p) for p in points.tolist()], fill=255)
    soft = np.asarray(mask.filter(ImageFilter.GaussianBlur(1 + 4 * (0.5 - light.shadow))), np.float32) / 255
    ground *= 1 - (0.15 + light.shadow) * soft[..., None]
