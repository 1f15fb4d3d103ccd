import numpy as np
import pytest
from fake_run import make_dataset, make_predictions, worsen

from segbench.contract.evaluation import EvaluationOptions
from segbench.evaluation.runner.evaluate import evaluate
from segbench.evaluation.worst import worst


@pytest.mark.parametrize(
    ("name", "task"), [("vessels", "semantic"), ("bubbles", "instance"), ("street", "panoptic")]
)
def test_the_spoilt_images_are_the_worst(tmp_path, name, task):
    truths = make_dataset(tmp_path / "data", name, images=5, size=(60, 90))
    rng = np.random.default_rng(0)
    guesses = list(truths)
    guesses[3] = worsen(truths[3], rng, 1.0)
    guesses[1] = [(c, np.roll(m, (25, 40), (0, 1))) for c, m in truths[1]]
    make_predictions(tmp_path / "predictions", tmp_path / "data", guesses, task, quality=1)
    evaluate(
        tmp_path / "data",
        tmp_path / "predictions",
        tmp_path,
        options=EvaluationOptions(families=("objects",), bootstrap_samples=0),
    )
    found = worst(tmp_path / "per_image.parquet", task, 2)
    assert found == ["img002", "img004"]
    assert worst(tmp_path / "per_image.parquet", task, 0) == []
