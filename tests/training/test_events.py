"""Event files for TensorBoard."""

from __future__ import annotations

import csv
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from tiny_networks import make_spec

from segbench.errors import SegbenchError
from segbench.evaluation.validation import PrimaryMetric
from segbench.report.validation_pictures import GAP, SIDE, validation_pictures
from segbench.training.runner.events import events_in

SPEC = {"iterations": 4, "validate_every": 2}


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_the_curves_are_those_of_the_history(run, tmp_path: Path) -> None:
    run("a", make_spec(**SPEC), measure=PrimaryMetric(), tensorboard=True)
    with (tmp_path / "a" / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = curves(tmp_path / "a" / "tensorboard")
    columns = {
        "loss/cross_entropy": "loss_cross_entropy",
        "loss/total": "total",
        "loss/validation": "validation",
        "validation/miou": "validation_score",
        "learning rate": "lr",
        "gradient norm": "grad_norm",
        "images per second": "images_per_second",
        "epoch": "epoch",
    }
    assert set(found) == set(columns)
    for name, column in columns.items():
        expected = [(int(row["iteration"]), float(row[column])) for row in rows if row[column]]
        assert [step for step, _ in found[name]] == [step for step, _ in expected]
        assert [v for _, v in found[name]] == pytest.approx([v for _, v in expected], rel=1e-6), name


@pytest.mark.parametrize(("network", "task"), [("Plain", "semantic"), ("Everything", "panoptic")])
def test_pictures_of_each_validation(run, tmp_path: Path, network: str, task: str) -> None:
    """Image, truth and prediction side by side."""
    from PIL import Image
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    spec = make_spec(network, task=task, **SPEC)
    run("a", spec, measure=PrimaryMetric(validation_pictures), tensorboard=True)
    found = EventAccumulator(str(tmp_path / "a" / "tensorboard"))
    found.Reload()
    names = found.Tags()["images"]
    assert 1 <= len(names) <= 4 and all(name.startswith("validation/") for name in names)
    for name in names:
        pictures = found.Images(name)
        assert [one.step for one in pictures] == [2, 4]
        first = np.asarray(Image.open(BytesIO(pictures[0].encoded_image_string)))
        width = (first.shape[1] - 2 * GAP) // 3
        assert width <= SIDE and first.shape[1] == 3 * width + 2 * GAP
        truth = first[:, width + GAP : 2 * width + GAP]
        assert (truth.max(2) > truth.min(2)).any()  # painted in colours over grey


def test_a_training_that_continues_forgets_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    for start, steps in ((0, (1, 2, 3)), (2, (3, 4))):
        with events_in(tmp_path, start, True) as events:
            for step in steps:
                events.add({"iteration": step, "total": 10 * start + step}, "")
    assert curves(tmp_path / "tensorboard") == {"loss/total": [(1, 1), (2, 2), (3, 23), (4, 24)]}
    with events_in(tmp_path, 0, True) as events:  # starts over
        events.add({"iteration": 1, "total": 7.0}, "")
    assert curves(tmp_path / "tensorboard") == {"loss/total": [(1, 7)]}


def test_without_the_key_nothing_is_written(run, tmp_path: Path) -> None:
    run("a", make_spec(iterations=1))
    assert not (tmp_path / "a" / "tensorboard").exists()


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with (
        pytest.raises(SegbenchError, match="the package tensorboard is needed"),
        events_in(tmp_path, 0, True),
    ):
        pass
    assert not [*tmp_path.iterdir()]
