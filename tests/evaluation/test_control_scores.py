"""What controls score: closed formulas for a constant and for uniformly random labels, one for the truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from segbench.contract.evaluation import EvaluationOptions
from segbench.data.dataset import Dataset
from segbench.evaluation.runner.evaluate import evaluate
from segbench.prediction.controls import run_control


@pytest.fixture
def scored(shapes, tmp_path):
    def run(control):
        out = tmp_path / control
        run_control(f"segbench.prediction.controls:{control}", shapes, "panoptic", 0, out / "predictions")
        evaluate(shapes, out / "predictions", out, options=EvaluationOptions(bootstrap_samples=0))
        frame = pd.read_csv(out / "scores.csv", keep_default_na=False)
        frame["value"] = pd.to_numeric(frame["value"])
        return frame

    return run


@pytest.fixture
def pixels(shapes):
    """Number of true pixels of each class of the scored split."""
    split = Dataset(shapes).split("test")
    labels = np.concatenate([split.read_semantic(r.stem).ravel() for r in split])
    return np.bincount(labels[labels > 0], minlength=5)[1:]


def means(frame, task):
    own = frame[(frame["task"] == task) & (frame["class"] == "")]
    return dict(zip(own["metric"], own["value"]))


def test_truth(scored):
    frame = scored("Truth")
    perfect = frame[~frame["metric"].isin(["ar1", "box_ar1", "ece", "box_ece"])].dropna(subset="value")
    assert perfect["value"].to_numpy() == pytest.approx(1, abs=1e-12)
    assert set(frame["task"]) == {"semantic", "detection", "instance", "panoptic"}
    errors = frame[frame["metric"].isin(["ece", "box_ece"])].dropna(subset="value")
    assert (errors["value"] == 0).all()


def test_constant(scored, pixels):
    frame = scored("Constant")
    share = pixels / pixels.sum()
    constant = means(frame, "semantic")
    assert constant["pixel_accuracy"] == pytest.approx(share.max())
    assert constant["miou"] == pytest.approx(share.max() / 4)
    assert constant["dice"] == pytest.approx(2 * share.max() / (1 + share.max()) / 4)
    assert constant["mean_accuracy"] == pytest.approx(1 / 4)
    assert constant["fwiou"] == pytest.approx(share.max() ** 2)
    assert means(frame, "instance")["ap"] == 0


def test_random(scored, pixels):
    frame = scored("Random")
    random, total = means(frame, "semantic"), pixels.sum()
    spread = 4 / np.sqrt(total)
    assert random["pixel_accuracy"] == pytest.approx(1 / 4, abs=spread)
    hits = pixels / 4
    expected = hits / (pixels + total / 4 - hits)
    assert random["miou"] == pytest.approx(expected.mean(), abs=spread)
    assert random["mean_accuracy"] == pytest.approx(1 / 4, abs=4 * spread)
    assert means(frame, "instance")["ap"] < 0.05
    assert means(frame, "panoptic")["pq"] < 0.2
