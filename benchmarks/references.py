"""What the scores are timed against: from the same files to a dictionary, as people do it."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.synthetic import CATEGORIES


def pycocotools_masks(folder: Path) -> dict[str, float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(folder / "instances.json")
        run = COCOeval(coco, coco.loadRes(str(folder / "results.json")), "segm")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return {"ap": run.stats[0]}


def hotcoco_masks(folder: Path) -> dict[str, float]:
    """AP alone, without statistics of images."""
    import hotcoco

    coco = hotcoco.COCO(str(folder / "instances.json"))
    run = hotcoco.COCOeval(coco, coco.load_res(str(folder / "results.json")), "segm")
    run.evaluate()
    run.accumulate()
    run.summary_lines()
    return {"ap": run.stats[0]}


def numpy_confusion(folder: Path) -> dict[str, float]:
    """The usual loop: PIL, a mask, bincount."""
    total = np.zeros((134, 134), np.int64)
    for path in sorted((folder / "semantic_truth").iterdir()):
        true = np.array(Image.open(path)).astype(np.int64)
        guess = np.array(Image.open(folder / "semantic_predicted" / path.name)).astype(np.int64)
        valid = true != 255
        total += np.bincount(true[valid] * 134 + guess[valid], minlength=134**2).reshape(134, 134)
    union = total.sum(0) + total.sum(1) - np.diag(total)
    return {"miou": float(np.mean(np.diag(total)[union > 0] / union[union > 0]))}


OFFSET = 256**3


def _to_id(colour: np.ndarray) -> np.ndarray:
    return colour[:, :, 0] + 256 * colour[:, :, 1] + 256 * 256 * colour[:, :, 2]


def _pq_of(arguments: tuple[Path, list[tuple[dict, dict]]]) -> dict[int, np.ndarray]:
    """The inner loop of panopticapi's `pq_compute_single_core`, step by step with the same numpy calls."""
    folder, pairs = arguments
    table: dict[int, np.ndarray] = defaultdict(lambda: np.zeros(4))
    for true, predicted in pairs:
        maps = []
        for side in ("truth", "predicted"):
            path = folder / f"panoptic_{side}" / true["file_name"]
            maps.append(_to_id(np.array(Image.open(path), dtype=np.uint32)))
        truths = {s["id"]: s for s in true["segments_info"]}
        guesses = {s["id"]: s for s in predicted["segments_info"]}
        for label, count in zip(*np.unique(maps[1], return_counts=True)):
            if label in guesses:
                guesses[label]["area"] = count
        joint = maps[0].astype(np.uint64) * OFFSET + maps[1].astype(np.uint64)
        overlaps = {}
        for label, count in zip(*np.unique(joint, return_counts=True)):
            overlaps[label // OFFSET, label % OFFSET] = count
        hit_truths, hit_guesses = set(), set()
        for (t, p), overlap in overlaps.items():
            if t not in truths or p not in guesses or truths[t]["iscrowd"] == 1:
                continue
            if truths[t]["category_id"] != guesses[p]["category_id"]:
                continue
            union = guesses[p]["area"] + truths[t]["area"] - overlap - overlaps.get((0, p), 0)
            if overlap / union > 0.5:
                table[truths[t]["category_id"]] += (overlap / union, 1, 0, 0)
                hit_truths.add(t)
                hit_guesses.add(p)
        crowds = {}
        for t, info in truths.items():
            if t in hit_truths:
                continue
            if info["iscrowd"] == 1:
                crowds[info["category_id"]] = t
                continue
            table[info["category_id"]] += (0, 0, 0, 1)
        for p, info in guesses.items():
            if p in hit_guesses:
                continue
            hidden = overlaps.get((0, p), 0) + overlaps.get((crowds.get(info["category_id"]), p), 0)
            if hidden / info["area"] <= 0.5:
                table[info["category_id"]] += (0, 0, 1, 0)
    return dict(table)


def panopticapi(folder: Path, processes: int = 1) -> dict[str, float]:
    true, predicted = (
        json.loads((folder / f"panoptic_{s}.json").read_text()) for s in ("truth", "predicted")
    )
    by_image = {a["image_id"]: a for a in predicted["annotations"]}
    pairs = [(a, by_image[a["image_id"]]) for a in true["annotations"]]
    if processes == 1:
        parts = [_pq_of((folder, pairs))]
    else:
        chunks = [(folder, pairs[i::processes]) for i in range(processes)]
        with multiprocessing.Pool(processes) as pool:
            parts = pool.map(_pq_of, chunks)
    values = []
    for category in CATEGORIES:
        iou, hits, spurious, missed = sum(p.get(category["id"], np.zeros(4)) for p in parts)
        if hits + spurious + missed:
            values.append(iou / (hits + spurious / 2 + missed / 2))
    return {"pq": float(np.mean(values))}


def panopticapi_all_cores(folder: Path) -> dict[str, float]:
    return panopticapi(folder, multiprocessing.cpu_count())
