"""Images' worth of truth and predictions at the density of COCO, without the images.

7.3 objects and 4 stuff regions an image of 640 x 480, of 80 and 53 classes; about 25 detections an image,
some near the truth, some anywhere; predicted maps are the true ones, moved and with segments of wrong class.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from pycocotools import mask as rle

HEIGHT, WIDTH = 480, 640
THINGS, STUFF = range(1, 81), range(81, 134)
CATEGORIES = [{"id": c, "name": f"class {c}", "isthing": int(c in THINGS)} for c in (*THINGS, *STUFF)]


def outline(rng: np.random.Generator, size: float) -> np.ndarray:
    """A wobbly ellipse, N x 2 points, cut at the image's border."""
    angle = np.linspace(0, 2 * np.pi, int(rng.integers(20, 60)), endpoint=False)
    radius = size * (1 + 0.25 * rng.normal(size=angle.size))
    centre = rng.uniform(0, (WIDTH, HEIGHT))
    points = np.stack([radius * np.cos(angle), rng.uniform(0.5, 1.5) * radius * np.sin(angle)], 1)
    return np.clip(centre + points, 0, (WIDTH, HEIGHT)).round(2)


def encoded(points: np.ndarray) -> dict[str, Any]:
    (found,) = rle.frPyObjects([points.ravel().tolist()], HEIGHT, WIDTH)
    return found


def make_image(folder: Path, shrink: int, image_id: int) -> tuple[dict[str, Any], ...]:
    """Write the maps of one image; its annotations, results and panoptic annotations are returned."""
    rng = np.random.default_rng(image_id)
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    sides = []
    classes = rng.choice(THINGS, 3)

    def detect(points: np.ndarray, class_id: int, top: float) -> None:
        mask = encoded(points)
        if rle.area(mask):
            results.append(
                {
                    "image_id": image_id,
                    "category_id": int(class_id),
                    "score": round(float(rng.random() * top), 4),
                    "bbox": rle.toBbox(mask).tolist(),
                    "segmentation": {"size": [HEIGHT, WIDTH], "counts": mask["counts"].decode()},
                }
            )

    for _ in range(rng.poisson(7.3)):
        points, class_id = outline(rng, float(np.exp(rng.normal(3.6, 0.9)))), int(rng.choice(classes))
        mask = encoded(points)
        area = float(rle.area(mask))
        if area < 4:
            continue
        annotations.append(
            {
                "id": image_id * 1000 + len(annotations),
                "image_id": image_id,
                "category_id": class_id,
                "iscrowd": 0,
                "area": area,
                "bbox": rle.toBbox(mask).tolist(),
                "segmentation": [points.ravel().tolist()],
            }
        )
        for _ in range(rng.poisson(2)):
            moved = points + rng.exponential(0.1) * np.sqrt(area) * rng.normal(size=(1, 2))
            detect(moved, class_id if rng.random() < 0.8 else rng.choice(THINGS), 1)
    for _ in range(rng.poisson(10)):
        detect(outline(rng, float(np.exp(rng.normal(3.6, 0.9)))), rng.choice(THINGS), 0.5)

    regions = [
        (outline(rng, float(rng.uniform(100, 400))), int(c)) for c in rng.choice(STUFF, 4, replace=False)
    ]
    segments = [(float("inf"), *r) for r in regions]
    segments += [
        (a["area"], np.reshape(a["segmentation"][0], (-1, 2)), a["category_id"]) for a in annotations
    ]
    for side, shift in (("truth", 0.0), ("predicted", 4.0)):
        image = Image.new("I", (WIDTH, HEIGHT))
        draw = ImageDraw.Draw(image)
        names = {}
        for number, (_, points, class_id) in enumerate(sorted(segments, key=lambda s: -s[0]), 1):
            if shift and rng.random() < 0.1:
                class_id = int(rng.choice(THINGS if class_id in THINGS else STUFF))
                if class_id in STUFF and class_id in names.values():
                    continue
            segment = number * 9973 % 65521 + 256
            moved = points + shift * rng.normal(size=(1, 2))
            draw.polygon([tuple(p) for p in moved], fill=segment)
            names[segment] = class_id
        ids = np.asarray(image)[::shrink, ::shrink]
        found, counts = np.unique(ids, return_counts=True)
        table = np.zeros(1 << 17, np.uint8)
        for segment in found[found > 0]:
            table[segment] = names[segment]
        info = [
            {"id": int(s), "category_id": names[s], "iscrowd": 0, "area": int(n)}
            for s, n in zip(found, counts)
            if s
        ]
        rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
        name = f"{image_id:012}.png"
        Image.fromarray(rgb).save(folder / f"panoptic_{side}" / name)
        Image.fromarray(table[ids]).save(folder / f"semantic_{side}" / name)
        sides.append({"image_id": image_id, "file_name": name, "segments_info": info})
    image_info = {"id": image_id, "width": WIDTH, "height": HEIGHT, "file_name": f"{image_id:012}.jpg"}
    return image_info, annotations, results, *sides


def make(
    folder: Path, images: int, unique: int | None = None, *, objects: bool = True, shrink: int = 1
) -> None:
    """Fill `folder` for `images` images; beyond `unique` they are the first ones again, under new names.

    objects: whether annotations and results of objects are written too; shrink: step between the pixels kept.
    """
    unique = min(unique or images, images)
    for name in ("panoptic_truth", "panoptic_predicted", "semantic_truth", "semantic_predicted"):
        (folder / name).mkdir(parents=True)
    with ProcessPoolExecutor() as pool:
        made = list(pool.map(partial(make_image, folder, shrink), range(1, unique + 1), chunksize=16))
    for image_id in range(unique + 1, images + 1):
        source = (image_id - 1) % unique + 1
        for name in ("panoptic_truth", "panoptic_predicted", "semantic_truth", "semantic_predicted"):
            os.link(folder / name / f"{source:012}.png", folder / name / f"{image_id:012}.png")
    things = [c for c in CATEGORIES if c["isthing"]]
    numbers = range(1, images + 1)

    def each(part: int) -> Iterator[tuple[int, Any]]:
        return ((i, made[(i - 1) % unique][part]) for i in numbers)

    listed = [{**image, "id": i, "file_name": f"{i:012}.jpg"} for i, image in each(0)]
    annotations = (
        {**o, "image_id": i, "id": i * 1000 + n} for i, found in each(1) for n, o in enumerate(found)
    )
    results = ({**r, "image_id": i} for i, found in each(2) for r in found)
    true, predicted = (
        ({**side, "image_id": i, "file_name": f"{i:012}.png"} for i, side in each(part)) for part in (3, 4)
    )
    if objects:
        write(folder / "instances.json", {"images": listed, "categories": things}, annotations)
        write(folder / "results.json", None, results)
    write(folder / "panoptic_truth.json", {"images": listed, "categories": CATEGORIES}, true)
    write(folder / "panoptic_predicted.json", {}, predicted)
    (folder / "names.txt").write_text("\n".join(f"class {c}" for c in range(134)))


def write(path: Path, head: dict[str, Any] | None, items: Iterable[dict[str, Any]]) -> None:
    """A JSON list of `items`, under the key annotations where there is a `head`, without holding them."""
    with path.open("w") as file:
        if head is not None:
            file.write(json.dumps(head | {"annotations": []})[:-2])
        else:
            file.write("[")
        for n, item in enumerate(items):
            file.write("," * bool(n) + json.dumps(item))
        file.write("]}" if head is not None else "]")
