"""How much AP each type of error costs (TIDE: Bolya et al., ECCV 2020), computed by hotcoco.

TIDE also compares detections with the truth of other classes. The per-image statistics do not contain that,
so the files are read again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hotcoco

from segbench.errors import SegbenchError

NAMES = {
    "Cls": "classification",
    "Loc": "localisation",
    "Both": "both",
    "Dupe": "duplicate",
    "Bkg": "background",
    "Miss": "missed",
    "FP": "false_positive",
    "FN": "false_negative",
}


def errors(
    truth: Path | dict[str, Any],
    results: Path | list[dict[str, Any]],
    *,
    boxes: bool,
    max_detections: int,
) -> dict[str, Any]:
    """Return AP at IoU 0.5, how much it would rise if each type of error were fixed, and the error counts.

    Args:
        truth: file of COCO annotations, or its content.
        results: file of COCO results, or its content.
        boxes: compare boxes instead of masks.
        max_detections: maximum number of detections per class and image.

    Raises:
        SegbenchError: hotcoco cannot read a file.
    """
    annotations = _read(hotcoco.COCO, truth)
    run = hotcoco.COCOeval(annotations, _read(annotations.load_res, results), "bbox" if boxes else "segm")
    run.params.iou_thrs = [0.5]
    run.params.max_dets = [max_detections]
    run.evaluate()
    found = run.tide_errors(pos_thr=0.5, bg_thr=0.1)
    return {
        "ap50": found["ap_base"],
        "delta_ap50": {NAMES[k]: v for k, v in found["delta_ap"].items()},
        "count": {NAMES[k]: v for k, v in found["counts"].items()},
    }


def _read(reader: Callable[[Any], Any], source: Any) -> Any:
    try:
        return reader(str(source) if isinstance(source, Path) else source)
    except (ValueError, OSError) as error:
        raise SegbenchError(
            f"is not in COCO's format ({error})",
            where=source if isinstance(source, Path) else None,
            remedy="correct that field, or write the file again",
        ) from error
