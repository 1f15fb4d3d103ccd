import json

import numpy as np
import pytest
from fake_run import make_dataset, make_run
from PIL import Image

from segbench.contract.evaluation import EvaluationOptions
from segbench.contract.run import RunDescription
from segbench.errors import SegbenchError
from segbench.evaluation.runner.evaluate import evaluate
from segbench.evaluation.semantic.maps import read_labels
from segbench.report.confusions import confusions, largest, read_matrix
from segbench.report.summarise import collect, comparisons
from segbench.report.tables import environment


def write_matrix(path, classes, pixels):
    path.write_text(json.dumps({"confusion": {"classes": classes, "pixels": np.asarray(pixels).tolist()}}))
    return path


def of(run_json):
    run = RunDescription.read(run_json)
    scores, cells = collect(run)
    return confusions(run, comparisons(run, scores, cells), cells)


def test_the_matrix_equals_that_of_sklearn(tmp_path):
    """From files on disk: random predictions, and truth with void pixels."""
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    make_dataset(tmp_path / "data", "street", images=3, size=(40, 50))
    folder = tmp_path / "predictions"
    (folder / "semantic").mkdir(parents=True)
    true, guess = [], []
    for path in sorted((tmp_path / "data/test/semantic").iterdir()):
        truth = read_labels(path).copy()
        truth[rng.random(truth.shape) < 0.2] = 255
        Image.fromarray(truth.astype(np.uint8)).save(path)
        predicted = rng.integers(0, 7, truth.shape)
        Image.fromarray(predicted.astype(np.uint8)).save(folder / "semantic" / path.name)
        true.append(truth[truth != 255])
        guess.append(predicted[truth != 255])
    index = {"dataset": "street", "split": "test", "task": "semantic", "parts": ["semantic"]}
    (folder / "predictions.json").write_text(json.dumps(index))
    evaluate(tmp_path / "data", folder, tmp_path, options=EvaluationOptions(families=(), bootstrap_samples=0))
    classes, matrix = read_matrix([tmp_path / "scores.json"])
    expected = metrics.confusion_matrix(np.concatenate(true), np.concatenate(guess), labels=range(7))
    assert classes == ["background", "sky", "road", "building", "car", "person", "tree"]
    assert (matrix[:, :-1] == expected).all() and not matrix[:, -1].any()


def test_matrices_of_seeds_are_summed_and_shares_are_of_the_true_class(tmp_path):
    run_json = make_run(tmp_path, ("vessels",), (0, 1), images=1, size=(20, 30))
    cells = run_json.parent / "cells/vessels"
    for seed, pixels in enumerate(([[90, 10, 0], [1, 2, 0]], [[99, 0, 1], [0, 1, 0]])):
        write_matrix(cells / f"unet/seed{seed}/scores.json", ["background", "vessel"], pixels)
    found = of(run_json)["vessels"]
    assert found.networks == ["unet"], "the other networks have no matrix"
    (shown,) = found.heat_maps
    assert shown.unlabelled
    assert [[c.text for c in row] for row in shown.rows] == [["94", "5", "<1"], ["25", "75", ""]]
    assert shown.rows[0][0].level == 6 and shown.rows[1][2].level == 0


def test_cells_without_a_score_are_in_no_matrix(tmp_path):
    run_json = make_run(tmp_path, ("vessels",), (0, 1), images=1, size=(20, 30))
    cell = run_json.parent / "cells/vessels/unet"
    for seed, pixels in enumerate(([[9, 1, 0], [0, 5, 0]], [[0, 10, 0], [5, 0, 0]])):
        write_matrix(cell / f"seed{seed}/scores.json", ["background", "vessel"], pixels)
    (cell / "seed1/state.json").write_text(json.dumps({"step": "evaluate", "state": "failed", "reason": "x"}))
    (shown,) = of(run_json)["vessels"].heat_maps
    assert [[c.text for c in row] for row in shown.rows] == [["90", "10"], ["", "100"]]


def test_many_classes_have_a_table_of_the_largest_confusions(tmp_path):
    run_json = make_run(tmp_path, ("vessels",), (0,), images=1, size=(20, 30))
    classes = [f"class {k}" for k in range(150)]
    pixels = np.zeros((150, 151), np.int64)
    pixels[np.arange(149), np.arange(149)] = 1000
    for k in range(30):
        pixels[k, k + 1] = 100 - k
    pixels[7, 150] = 10**12
    for model in ("unet", "fcn8s_vgg16"):
        write_matrix(run_json.parent / f"cells/vessels/{model}/seed0/scores.json", classes, pixels)
        pixels = pixels // 10
    found = of(run_json)["vessels"]
    assert not found.heat_maps and len(found.pairs) == 20
    first, second = found.pairs[:2]
    assert (first.true, first.predicted) == ("class 7", "(no class)") and min(first.shares) > 0.99
    assert (second.true, second.predicted) == ("class 0", "class 1")
    assert second.shares == [pytest.approx(100 / 1100), pytest.approx(10 / 110)]


def test_each_network_has_the_same_weight():
    small, large = np.array([[0, 4, 0], [1, 5, 0]]), np.array([[0, 100, 0], [500, 400, 0]])
    assert largest([small, large], 9) == [(1, 0), (0, 1)]
    assert largest([small], 1) == [(0, 1)]


def test_a_broken_matrix_is_left_out(tmp_path, caplog):
    run_json = make_run(tmp_path, ("vessels",), (0,), images=1, size=(20, 30))
    cells = run_json.parent / "cells/vessels"
    write_matrix(cells / "unet/seed0/scores.json", ["background", "vessel"], [[1, 2], [3, 4]])
    write_matrix(cells / "fcn8s_vgg16/seed0/scores.json", ["background", "vessel"], [[1, 2, 0], [3, 4, 0]])
    assert of(run_json)["vessels"].networks == ["fcn8s_vgg16"]
    assert "unet" in caplog.text and "other classes" in caplog.text
    a = write_matrix(tmp_path / "a.json", ["x", "y"], np.ones((2, 3), int))
    b = write_matrix(tmp_path / "b.json", ["x", "z"], np.ones((2, 3), int))
    with pytest.raises(SegbenchError, match="other classes"):
        read_matrix([a, b])
    with pytest.raises(SegbenchError, match="other classes"):
        read_matrix([a], ["x", "z"])


def test_networks_of_one_title_stay_two(tmp_path):
    run_json = make_run(tmp_path, ("vessels",), (0,), images=1, size=(20, 30))
    content = json.loads(run_json.read_text())
    for number, model in enumerate(("unet", "fcn8s_vgg16"), 1):
        content["models"][model]["title"] = "the same"
        path = run_json.parent / f"cells/vessels/{model}/seed0/scores.json"
        write_matrix(path, ["background", "vessel"], [[3, number, 0], [0, 1, 0]])
    run_json.write_text(json.dumps(content))
    found = of(run_json)["vessels"]
    assert found.networks == ["the same"] * 2
    assert {shown.rows[0][1].text for shown in found.heat_maps} == {"25", "40"}


def test_heat_maps_and_tables_are_shown(tmp_path):
    run_json = make_run(tmp_path, ("vessels", "bubbles"), (0,), images=1, size=(20, 30))
    cells = run_json.parent / "cells"
    write_matrix(cells / "vessels/unet/seed0/scores.json", ["background", "<b>x"], [[3, 1, 0], [1, 1, 0]])
    many = [f"class {k}" for k in range(21)]
    write_matrix(cells / "bubbles/unet/seed0/scores.json", many, np.ones((21, 22), int))
    template = environment().get_template("confusions.html.j2")
    heat_map, table = (template.render(confusions=one) for one in of(run_json).values())
    assert "1 background, 2 &lt;b&gt;x" in heat_map and '<td class="h3">25</td>' in heat_map
    assert "The 20 confusions with most pixels" in table and "4.5 %" in table
