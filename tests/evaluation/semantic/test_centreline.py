import json

import numpy as np
import pytest
from fake_run import make_dataset
from PIL import Image
from skimage.morphology import skeletonize

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.view import BACKGROUND, Category
from segbench.evaluation.jackknife import left_out
from segbench.evaluation.resampled import resampled
from segbench.evaluation.runner.evaluate import evaluate
from segbench.evaluation.semantic.centreline import COLUMNS, measure, thin
from segbench.evaluation.statistics import Statistics

OPTIONS = EvaluationOptions(families=("cldice",), bootstrap_samples=0)


def cl_dice(predicted, truth):
    """As in the paper's repository, for masks that are not empty."""
    precision = (skeletonize(predicted) & truth).sum() / skeletonize(predicted).sum()
    sensitivity = (skeletonize(truth) & predicted).sum() / skeletonize(truth).sum()
    return 2 * precision * sensitivity / (precision + sensitivity)


@pytest.fixture
def scored(tmp_path):
    """Scores a list of predicted maps against the truth of vessels; returns scores, statistics and truth."""

    def run(change, images=3, void=False):
        make_dataset(tmp_path / "data", "vessels", images=images, size=(60, 80))
        folder = tmp_path / "predictions"
        (folder / "semantic").mkdir(parents=True)
        truths, guesses = [], []
        for number, path in enumerate(sorted((tmp_path / "data/test/semantic").iterdir())):
            truth = np.array(Image.open(path))
            if void:
                truth[:, :20] = 255
                Image.fromarray(truth).save(path)
            guess = change(number, truth)
            Image.fromarray(guess.astype(np.uint8)).save(folder / "semantic" / path.name)
            truths.append(truth)
            guesses.append(guess)
        index = {"dataset": "vessels", "split": "test", "task": "semantic", "parts": ["semantic"]}
        (folder / "predictions.json").write_text(json.dumps(index))
        evaluate(tmp_path / "data", folder, tmp_path, options=OPTIONS)
        rows = json.loads((tmp_path / "scores.json").read_text())["scores"]
        found = {r["class"]: r["value"] for r in rows if r["metric"] == "cldice"}
        return found, Statistics(tmp_path / "per_image.parquet"), list(zip(guesses, truths))

    return run


def shifted(number, truth):
    moved = np.roll(truth == 1, (number, 2 * number + 1), (0, 1))
    moved[:, 40:44] = False
    return moved


def test_it_equals_the_reference(scored):
    found, _, pairs = scored(shifted)
    expected = np.mean([cl_dice(guess == 1, truth == 1) for guess, truth in pairs])
    assert 0.1 < expected < 0.9
    assert found["vessel"] == found[""] == pytest.approx(expected)
    assert found["background"] is None


def test_void_is_excluded(scored):
    found, _, pairs = scored(shifted, void=True)
    expected = np.mean([cl_dice((guess == 1) & (truth != 255), truth == 1) for guess, truth in pairs])
    assert found[""] == pytest.approx(expected)


def test_a_perfect_prediction_scores_1_and_an_empty_one_0(scored):
    found, statistics, _ = scored(lambda number, truth: truth if number else np.zeros_like(truth), images=2)
    assert found[""] == 0.5
    weights = np.array([[1, 0], [0, 1], [1, 3]])
    assert resampled(statistics, "semantic", weights, "cldice")["cldice"].tolist() == [0, 1, 0.75]


def test_each_image_can_be_left_out(scored):
    _, statistics, pairs = scored(shifted)
    each = np.array([cl_dice(guess == 1, truth == 1) for guess, truth in pairs])
    weights = left_out(statistics.metadata)
    values = resampled(statistics, "semantic", weights)["cldice"]
    assert values == pytest.approx(weights @ each / weights.sum(1))


def test_by_hand():
    truth, guess = np.zeros((5, 9), np.uint8), np.zeros((5, 9), np.uint8)
    truth[2] = 1
    guess[2, :6] = 1
    guess[0, 0] = 1  # a false branch of one pixel
    found = measure(truth, guess, 2, [1])
    assert [found[name].tolist() for name in COLUMNS] == [[0, 9], [0, 6], [0, 7], [0, 6]]
    assert thin([BACKGROUND, Category(id=1, name="vessel", isthing=False, color=(0, 0, 0))]) == [1]


def test_a_class_that_no_image_has_is_undefined(scored):
    found, _, _ = scored(lambda _, truth: truth * 0)
    assert found["vessel"] == 0
    empty = measure(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), 2, [1])
    assert not any(values.any() for values in empty.values())


def test_other_runs_do_not_measure_it(scored, tmp_path):
    scored(shifted, images=1)
    options = EvaluationOptions(families=(), bootstrap_samples=0)
    evaluate(tmp_path / "data", tmp_path / "predictions", tmp_path, options=options)
    assert "cldice" not in (tmp_path / "scores.csv").read_text()
