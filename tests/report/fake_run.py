"""A results folder as the steps before the report leave it: small scenes, made-up scores."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from pycocotools import mask as rle

from segbench.contract.prediction import Instances, Panoptic, Prediction
from segbench.contract.scores import SCORE_COLUMNS
from segbench.contract.view import BACKGROUND, Category, View
from segbench.data.dataset import Dataset, id_to_rgb
from segbench.data.writing.measure import TruthStatistics
from segbench.prediction.writer import PredictionWriter

CATEGORIES = {
    "vessels": [Category(id=1, name="vessel", isthing=False, color=(220, 60, 60))],
    "bubbles": [Category(id=1, name="bubble", isthing=True, color=(60, 160, 220))],
    "street": [
        Category(id=1, name="sky", isthing=False, color=(70, 130, 180)),
        Category(id=2, name="road", isthing=False, color=(128, 64, 128)),
        Category(id=3, name="building", isthing=False, color=(120, 120, 120)),
        Category(id=4, name="car", isthing=True, color=(0, 0, 200)),
        Category(id=5, name="person", isthing=True, color=(220, 20, 60)),
        Category(id=6, name="tree", isthing=True, color=(60, 160, 60)),
    ],
}
TASKS = {
    "vessels": ["semantic"],
    "bubbles": ["semantic", "instance"],
    "street": ["semantic", "instance", "panoptic"],
}
NETWORKS = {  # views that each is trained on, and a made-up quality
    "unet": (["semantic"], 0.72, 31_000_000, 190.0),
    "fcn8s_vgg16": (["semantic"], 0.61, 134_500_000, 260.0),
    "mask_rcnn_resnet50_fpn": (["instance"], 0.66, 43_900_000, 420.0),
    "mask2former_resnet50": (["panoptic", "instance", "semantic"], 0.75, 44_000_000, 610.0),
}
CONTROLS = {"control_constant": 0.12, "control_random": 0.05, "control_truth": 1.0}
METRICS = {
    "semantic": ["miou", "miou_no_background", "pixel_accuracy", "dice", "dice_no_background"],
    "instance": ["ap", "ap50", "ap75", "box_ap"],
    "panoptic": ["pq", "sq", "rq", "pq_things", "pq_stuff"],
}
Scene = list[tuple[int, np.ndarray]]  # (category id, mask), painted in order


def kind(dataset: str) -> str:
    """Return what a dataset shows; `street2` is another dataset of streets."""
    return dataset.rstrip("0123456789")


def scene(dataset: str, rng: np.random.Generator, size: tuple[int, int]) -> Scene:
    height, width = size

    def drawn(shape: str, *args: Any, **options: Any) -> np.ndarray:
        image = Image.new("L", (width, height))
        getattr(ImageDraw.Draw(image), shape)(*args, fill=255, **options)
        return np.asarray(image) > 0

    def box(cx: float, cy: float, w: float, h: float) -> list[float]:
        return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]

    if kind(dataset) == "vessels":
        lines = []
        for _ in range(7):
            steps = np.cumsum(rng.normal([width / 14, 0], [4, height / 16], (16, 2)), axis=0)
            steps[:, 1] += rng.uniform(0.1, 0.9) * height
            points = [tuple(p) for p in steps]
            lines.append(drawn("line", points, width=int(rng.integers(2, 6))))
        return [(1, np.any(lines, axis=0))]
    if kind(dataset) == "bubbles":
        centres = rng.uniform(0.05, 0.95, (14, 2)) * [width, height]
        return [(1, drawn("ellipse", box(x, y, r, r))) for (x, y), r in zip(centres, rng.uniform(16, 44, 14))]
    horizon = int(height * 0.6)
    parts = [
        (1, drawn("rectangle", [0, 0, width, horizon])),
        (2, drawn("rectangle", [0, horizon, width, height])),
    ]
    houses = [[x, horizon - rng.uniform(20, 70), x + 38, horizon] for x in range(0, width, 45)]
    parts += [(3, drawn("rectangle", house)) for house in houses]
    parts += [(6, drawn("ellipse", box(x, horizon - 12, 34, 44))) for x in rng.uniform(0, width, 4)]
    parts += [(4, drawn("ellipse", box(x, horizon + 22, 48, 24))) for x in rng.uniform(0, width, 4)]
    parts += [(5, drawn("ellipse", box(x, horizon + 24, 12, 42))) for x in rng.uniform(0, width, 3)]
    return parts


def flatten(parts: Scene, size: tuple[int, int]) -> np.ndarray:
    """Index of the part seen at each pixel, from 1."""
    top = np.zeros(size, np.int32)
    for k, (_, mask) in enumerate(parts, 1):
        top[mask] = k
    return top


def worsen(parts: Scene, rng: np.random.Generator, quality: float) -> Scene:
    """Masks as a network might give them: shifted, eroded, some missing."""
    out = []
    for category, mask in parts:
        if rng.uniform() < quality + 0.2:
            shift = tuple(rng.integers(-3, 4, 2))
            image = Image.fromarray(np.roll(mask, shift, (0, 1)).astype(np.uint8) * 255)
            out.append((category, np.asarray(image.filter(ImageFilter.BoxBlur(2))) > 127))
    return out


def make_dataset(root: Path, name: str, images: int, size: tuple[int, int], **info: Any) -> list[Scene]:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    categories, tasks = CATEGORIES[kind(name)], TASKS[kind(name)]
    split = root / "test"
    for part in ("images", "semantic", "panoptic"):
        (split / part).mkdir(parents=True)
    annotations, panoptic, records, scenes = [], [], [], []
    for i in range(1, images + 1):
        parts = scene(name, rng, size)
        scenes.append(parts)
        top = flatten(parts, size)
        semantic = np.array([0, *(c for c, _ in parts)])[top]
        colors = np.array([(25, 25, 35), *(np.array(categories[c - 1].color) for c, _ in parts)])
        tint = colors[top] * 0.6 + rng.normal(70, 14, (*size, 1)) + rng.normal(0, 5, (*size, 3))
        Image.fromarray(tint.clip(0, 255).astype(np.uint8)).save(split / "images" / f"img{i:03}.jpg")
        Image.fromarray(semantic.astype(np.uint8)).save(split / "semantic" / f"img{i:03}.png")
        height, width = size
        records.append({"id": i, "file_name": f"img{i:03}.jpg", "height": height, "width": width})
        for c, mask in parts:
            if categories[c - 1].isthing:
                code = rle.encode(np.asfortranarray(mask, np.uint8))
                code["counts"] = code["counts"].decode()
                annotations.append(
                    {"id": len(annotations) + 1, "image_id": i, "category_id": c, "iscrowd": 0,
                     "segmentation": code, "area": int(mask.sum()), "bbox": list(rle.toBbox(code))}
                )  # fmt: skip
        segments = [
            {"id": k, "category_id": c, "iscrowd": 0} for k, (c, _) in enumerate(parts, 1) if k in top
        ]
        panoptic.append({"image_id": i, "file_name": f"img{i:03}.png", "segments_info": segments})
        Image.fromarray(id_to_rgb(top)).save(split / "panoptic" / f"img{i:03}.png")
    listed = [c.model_dump() for c in categories]
    if "instance" in tasks:
        write(split / "instances.json", {"images": records, "annotations": annotations, "categories": listed})
    if "panoptic" in tasks:
        write(split / "panoptic.json", {"images": records, "annotations": panoptic, "categories": listed})
    measures = TruthStatistics(categories, background=True, overlapping=False)
    measures.add(*size, None, [])
    values = {
        "name": name, "title": f"{name.capitalize()} (generated)", "categories": listed, "background": True,
        "tasks": tasks, "derived": [], "splits": {"train": 0, "test": images}, "evaluation_split": "test",
        "licence": "CC0-1.0", "citation": "Generated by this pipeline.", "archives": {}, "channels": 3,
        "mean": [0.5] * 3, "std": [0.2] * 3, "max_instances": 20, "digest": "",
        "levels": None, "partial": False, "max_pixels": 10**8,
        "statistics": measures.result().model_dump(),
    }  # fmt: skip
    write(root / "dataset.json", values | info)
    return scenes


def make_predictions(folder: Path, root: Path, scenes: list[Scene], view: str, quality: float) -> None:
    dataset = Dataset(root)
    size = scenes[0][0][1].shape
    what = f"{dataset.info.name} {view} {quality} {folder.parent.name}"
    rng = np.random.default_rng(zlib.crc32(what.encode()))
    shown = dataset.view(view)
    background = View("semantic", (BACKGROUND, *dataset.info.categories))
    with PredictionWriter(folder, dataset.split("test"), shown, background) as writer:
        for record, parts in zip(dataset.split("test"), scenes):
            guess = parts if quality == 1 else worsen(parts, rng, quality)
            top = flatten(guess, size)
            prediction = Prediction(semantic=np.array([0, *(c for c, _ in guess)])[top])
            things = [(c, m) for c, m in guess if dataset.info.categories[c - 1].isthing]
            if view != "semantic":
                prediction.instances = Instances(
                    scores=np.ones(len(things)) if quality == 1 else rng.uniform(0.4, 1, len(things)),
                    labels=np.array([shown.index_of[c] for c, _ in things], int),
                    masks=np.stack([m for _, m in things]) if things else [],
                )
            if view == "panoptic":
                labels = np.array([shown.index_of[c] for c, _ in guess])
                prediction.panoptic = Panoptic(segments=top, labels=labels, scores=np.ones(len(guess)))
            writer.add(record, prediction)


def make_scores(folder: Path, dataset: str, view: str, quality: float, seed: int) -> None:
    rng = np.random.default_rng(zlib.crc32(f"{folder.parent.name}{dataset}{seed}".encode()))
    lines = [",".join(SCORE_COLUMNS)]
    order = ["semantic", "instance", "panoptic"]
    intervals: dict[str, dict[str, list[float]]] = {}
    classes = CATEGORIES[kind(dataset)]
    for task in TASKS[kind(dataset)]:
        derived = view != task
        for metric in METRICS[task]:
            near = 1.0 if quality == 1 else float(np.clip(quality + rng.normal(0, 0.02), 0, 0.99))
            near *= 0.6 if derived and quality < 1 and order.index(view) < order.index(task) else 1
            intervals.setdefault(task, {metric: [near * 0.95, min(1, near * 1.04)]})
            names = [(c.name, near * rng.uniform(0.8, 1) if near < 1 else 1.0) for c in classes]
            for name, value in [("", near), *(names if metric in ("miou", "ap", "pq") else [])]:
                most = "100" if task == "instance" else ""
                lines.append(
                    f"{task},{metric},{name},{value:.6f},{derived},dataset,void,undefined,truth,,{most},"
                )
    write(folder / "scores.json", {"intervals": intervals})
    (folder / "scores.csv").write_text("\n".join(lines) + "\n")


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def make_run(
    root: Path,
    datasets: tuple[str, ...] = ("vessels", "bubbles", "street"),
    seeds: tuple[int, ...] = (0, 1),
    images: int = 4,
    size: tuple[int, int] = (120, 180),
    **options: Any,
) -> Path:
    """Write a run below `root` in which every cell is `ok`; returns its run.json. Tests break parts of it."""
    run_root = root / "results" / "demo"
    cells, skipped = [], []
    for dataset in datasets:
        data = root / "data" / dataset
        scenes = make_dataset(data, dataset, images, size)
        planned = [(m, False, *v) for m, v in NETWORKS.items()]
        planned += [(m, True, [TASKS[kind(dataset)][-1]], q, 0, 0.0) for m, q in CONTROLS.items()]
        for model, control, views, quality, parameters, seconds in planned:
            view = next((t for t in reversed(TASKS[kind(dataset)]) if t in views), None)
            if view is None:
                reason = f"learns {', '.join(views)}; the dataset has {', '.join(TASKS[kind(dataset)])}"
                skipped.append({"dataset": dataset, "model": model, "reason": reason})
                continue
            for seed in seeds[:1] if control else seeds:
                cells.append(
                    {"dataset": dataset, "model": model, "seed": seed, "task": view, "control": control}
                )
                folder = run_root / "cells" / dataset / model / f"seed{seed}"
                make_predictions(folder / "predictions", data, scenes, view, quality)
                make_scores(folder, dataset, view, quality, seed)
                write(folder / "state.json", {"step": "evaluate", "state": "ok", "reason": "", "log": ""})
                if not control:
                    make_training(folder, seed, parameters, seconds)
    run = {
        "name": "demo",
        "cells": cells,
        "skipped": skipped,
        "datasets": {
            d: {"root": str(root / "data" / d), "title": f"{d.capitalize()} (generated)"} for d in datasets
        },
        "models": {m: {"title": m, "card": {"paper": "A paper, 2020"}} for m in NETWORKS},
        "config_yaml": "datasets: [vessels, bubbles, street]\nrecipe: demo\nseeds: [0, 1]\n",
        "options": options,
    }
    write(run_root / "run.json", run)
    return run_root / "run.json"


def make_training(folder: Path, seed: int, parameters: int, seconds: float) -> None:
    rng = np.random.default_rng(zlib.crc32(f"{folder}{seed}".encode()))
    training = {
        "parameters": parameters,
        "flops": parameters * 900,
        "seconds": seconds * rng.uniform(0.95, 1.05),
    }
    where = {
        "device": "cpu",
        "processor": "A processor of two cores",
        "versions": {"torch": "2.15.0"},
        "python": "3.11.2",
    }
    write(folder / "training.json", training | where)
    write(folder / "efficiency.json", {"latency_median": seconds / 4000, "flops": parameters * 900})
    lines = ["iteration,epoch,lr,total,validation,seconds"]
    for i in range(10, 401, 10):
        loss = 0.3 + 1.4 * np.exp(-i / 90) + rng.normal(0, 0.06)
        validation = loss + 0.08 if i % 50 == 0 else ""
        lines.append(f"{i},{i / 50},{0.001 * (1 - i / 401) ** 0.9:.6g},{loss:.5f},{validation},{i}")
    (folder / "history.csv").write_text("\n".join(lines) + "\n")
