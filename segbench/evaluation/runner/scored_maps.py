"""Score two folders of label maps."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.view import Category
from segbench.data.images import IMAGE_SUFFIXES
from segbench.errors import SegbenchError
from segbench.evaluation.runner.scored_files import OPTIONS, check_images, write
from segbench.evaluation.semantic import boundary, centreline
from segbench.evaluation.semantic import confusion as semantic
from segbench.evaluation.semantic.maps import read_labels
from segbench.evaluation.semantic.values import REMEDY, Values
from segbench.evaluation.statistics import Rows, Statistics, TaskSettings, rows_of
from segbench.files import atomic_path

log = logging.getLogger(__name__)


def score_semantic(
    truth: Path,
    predictions: Path,
    values: Values,
    path: Path,
    *,
    mask: Path | None = None,
    missing_as_empty: bool = False,
    options: EvaluationOptions = OPTIONS,
    processes: int = 1,
) -> None:
    """Write the statistics of two folders of label maps, which are paired by file name without ending.

    Args:
        truth, predictions: the folders.
        values: how the values of the maps become classes.
        path: the statistics file.
        mask: folder of masks; pixels where a mask is 0 are excluded.
        missing_as_empty: score an image without prediction as one without a predicted class.
        options: options of the evaluation.
        processes: number of processes.

    Raises:
        SegbenchError: images are missing or malformed, or truth or predictions hold no foreground because its
            value is taken for void.
    """
    true_files, predicted_files = _images(truth), _images(predictions)
    mask_files = _images(mask) if mask else {}
    check_images(true_files, predicted_files, predictions, missing_as_empty)
    if mask:
        check_images(true_files, mask_files, mask, False)
    index = values.index
    bounds = boundary.settings(options)
    classes = tuple(Category(id=i, name=values.names[i], isthing=False, color=(0, 0, 0)) for i in values.ids)
    thin = centreline.thin(classes) if "cldice" in options.families else ()

    def add(rows: Rows, image: tuple[int, str]) -> None:
        image_id, stem = image
        path = truth / f"{stem}{true_files[stem]}"
        true = index.truth(values.read(path, truth=True), path)
        if mask:
            shown = read_labels(mask / f"{stem}{mask_files[stem]}", true.shape)
            true = np.where(shown == 0, index.size, true).astype(true.dtype)
        guess = np.full_like(true, index.size)
        if stem in predicted_files:
            path = predictions / f"{stem}{predicted_files[stem]}"
            guess = index.prediction(values.read(path, true.shape), path)
        semantic.add_image(rows, image_id, stem, true, guess, index, bounds, thin)

    images = dict(enumerate(true_files, 1))
    with atomic_path(path) as partly:
        job = partial(rows_of, "semantic", add)
        write(partly, "semantic", TaskSettings(classes), options, images, job, processes)
        answered = [i for i, stem in images.items() if stem in predicted_files]
        _check_classes(Statistics(partly), answered, values, truth, true_files, predictions)


def _images(folder: Path) -> dict[str, str]:
    """Return the images of a folder, sorted: name without ending -> ending."""
    if not folder.is_dir():
        raise SegbenchError("is not a folder", where=folder, remedy="give the folder of the images")
    found: dict[str, str] = {}
    for stem, ending in sorted((path.stem, path.suffix) for path in folder.iterdir()):
        if stem.startswith("._"):  # macOS writes such a file for each file on a foreign disk
            continue
        if ending.lower() in IMAGE_SUFFIXES and found.setdefault(stem, sys.intern(ending)) != ending:
            raise SegbenchError(f"two images are called {stem}", where=folder, remedy="keep one of them")
    return found


def _check_classes(
    statistics: Statistics,
    answered: Collection[int],
    values: Values,
    truth: Path,
    true_files: Mapping[str, str],
    predictions: Path,
) -> None:
    """Check that truth and predictions hold more than class 0.

    Otherwise the value of void or of unlabelled pixels is probably the foreground.
    """
    size = len(values.ids)
    total, labelled = np.zeros((size, 3), np.int64), np.zeros((size, 3), np.int64)
    for batch in statistics.batches("semantic", semantic.COLUMNS):
        counts = semantic.counts(batch, values.ids)
        total += counts.sum(0)
        labelled += counts[np.isin(batch.image_ids, list(answered))].sum(0)
    foreground = np.array(values.ids) != 0
    if not total[:, 1].any():
        log.warning("%s: every pixel is void, and all scores are undefined", truth)
        return
    if values.ignore is None and values.void is not None and not total[foreground, 1].any():
        _check_void(values, truth, true_files)
    unlabelled = labelled[:, 1].sum() - labelled[:, 2].sum()
    if not unlabelled:
        return
    share = f"{unlabelled / labelled[:, 1].sum():.2%} of the pixels are not labelled"
    other = "0" if values.void is None else str(values.void)
    if labelled[foreground, 1].any() and not labelled[foreground, 2].any():
        raise SegbenchError(
            f"holds no pixel of {_but_0(values)}: {share} (value {other})", where=predictions, remedy=REMEDY
        )
    log.warning("%s: %s (value %s); they count as predicted for no class", predictions, share, other)


def _check_void(values: Values, truth: Path, true_files: Mapping[str, str]) -> None:
    """Check that the truth, which has no foreground, has no void pixels either."""
    maps = (read_labels(truth / f"{stem}{ending}") for stem, ending in true_files.items())
    void, pixels = np.sum([(int((m == values.void).sum()), m.size) for m in maps], 0)
    if void:
        raise SegbenchError(
            f"holds no pixel of {_but_0(values)}; {void / pixels:.2%} are {values.void}, which is void",
            where=truth,
            remedy=f"{REMEDY}; --ignore {values.void}, if these pixels are void",
        )


def _but_0(values: Values) -> str:
    ids = [i for i in values.ids if i]
    return (
        f"class {ids[0]}"
        if len(ids) == 1
        else f"any class from {ids[0]} to {ids[-1]}"
        if ids
        else "any class"
    )
