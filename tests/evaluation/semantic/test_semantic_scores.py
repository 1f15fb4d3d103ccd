from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from hotcoco import metrics as hotcoco_metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segbench.errors import SegbenchError
from segbench.evaluation.semantic import confusion as semantic
from segbench.evaluation.semantic.maps import regions

NAMES = ["background", "a", "b", "c", "d"]


def maps(seed, *, void=True, classes=5, shape=(37, 53)):
    """Two random maps of blocks; class 4 has no truth."""
    rng = np.random.default_rng(seed)
    blocks = [np.kron(rng.integers(0, n, (8, 9)), np.ones((5, 6), int)) for n in (classes - 1, classes)]
    truth, predicted = (b[: shape[0], : shape[1]] for b in blocks)
    predicted = np.where(rng.random(shape) < 0.7, truth, predicted)
    return np.where(rng.random(shape) < 0.1, 255, truth) if void else truth, predicted


def joined(pairs):
    truth, predicted = (np.concatenate([p[i].ravel() for p in pairs]) for i in range(2))
    return truth[truth != 255], predicted[truth != 255]


@pytest.mark.parametrize("seed", range(3))
def test_equals_scikit_learn(semantic_scores, seed):
    pairs = [maps(10 * seed + i) for i in range(4)]
    scores = semantic_scores(*zip(*pairs), NAMES)
    truth, predicted = joined(pairs)
    keys = {"labels": range(5), "average": None}
    for metric, function in {
        "miou": sklearn.metrics.jaccard_score,
        "dice": sklearn.metrics.f1_score,
        "precision": sklearn.metrics.precision_score,
        "recall": sklearn.metrics.recall_score,
    }.items():
        ours = [scores[metric, name] for name in NAMES]
        undefined = (
            0 if metric == "miou" else np.nan
        )  # jaccard_score knows no nan; every class has pixels here
        theirs = function(truth, predicted, **keys, zero_division=undefined)
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)
        np.testing.assert_allclose(scores[metric], np.nanmean(ours), rtol=1e-14)
    assert scores["pixel_accuracy"] == pytest.approx(
        sklearn.metrics.accuracy_score(truth, predicted), rel=1e-14
    )
    present = np.unique(truth)
    balanced = sklearn.metrics.recall_score(truth, predicted, labels=present, average="macro")
    assert scores["mean_accuracy"] == pytest.approx(balanced, rel=1e-14)
    for name, value in zip(NAMES, range(5)):
        negative = sklearn.metrics.recall_score(truth != value, predicted != value)
        assert scores["specificity", name] == pytest.approx(negative, rel=1e-14)
    matrix = sklearn.metrics.confusion_matrix(truth, predicted, labels=range(5))
    np.testing.assert_array_equal(semantic.matrix(scores.statistics)[:, :-1], matrix)


@pytest.mark.parametrize("seed", range(3))
def test_equals_torchmetrics_and_mmsegmentation(semantic_scores, seed):
    import torch
    from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

    pairs = [maps(10 * seed + i) for i in range(4)]
    scores = semantic_scores(*zip(*pairs), NAMES)
    truth, predicted = (torch.from_numpy(v) for v in joined(pairs))
    index = MulticlassJaccardIndex(5, average=None)(predicted, truth)
    ours = np.array([scores["miou", name] for name in NAMES])
    np.testing.assert_allclose(np.nan_to_num(ours), index.numpy(), rtol=1e-6)  # it counts in single precision
    matrix = MulticlassConfusionMatrix(5)(predicted, truth).numpy()
    theirs = hotcoco_metrics.mean_iou(matrix)  # mmsegmentation's IoUMetric, as hotcoco verifies
    for metric, name in {
        "miou": "mIoU", "fwiou": "fwIoU", "mean_accuracy": "mAcc", "pixel_accuracy": "aAcc"
    }.items():  # fmt: skip
        assert scores[metric] == pytest.approx(theirs[name], rel=1e-14)


def test_absent_classes(semantic_scores):
    truth = [[0, 0, 1, 1], [0, 0, 1, 1]]
    predicted = [[0, 0, 0, 0], [0, 0, 2, 2]]
    scores = semantic_scores([truth], [predicted], NAMES)
    assert [scores["miou", n] for n in NAMES[:3]] == [pytest.approx(4 / 6), 0.0, 0.0]
    assert np.isnan([scores["miou", n] for n in NAMES[3:]]).all()
    assert scores["miou"] == pytest.approx(4 / 6 / 3)
    assert scores["miou_no_background"] == scores["dice_no_background"] == 0.0
    assert np.isnan(scores["precision", "a"]) and scores["recall", "a"] == 0.0  # nothing predicted
    assert scores["precision", "b"] == 0.0 and np.isnan(scores["recall", "b"])  # nothing there
    assert scores["specificity", "c"] == 1.0


def test_predictions_on_void_are_excluded(semantic_scores):
    scores = semantic_scores([[[1, 1, 255, 255]]], [[[1, 1, 2, 0]]], NAMES)
    assert scores["miou"] == scores["pixel_accuracy"] == 1.0
    assert np.isnan(scores["miou", "b"])


def test_unlabelled_pixels_are_missed_and_predict_no_class(semantic_scores):
    scores = semantic_scores([[[0, 0, 1, 1]]], [[[0, 0, 1, 255]]], NAMES)
    assert scores["miou", "background"] == 1.0 and scores["miou", "a"] == 0.5
    assert scores["precision", "a"] == 1.0 and scores["recall", "a"] == 0.5
    assert scores["pixel_accuracy"] == 0.75
    assert semantic.matrix(scores.statistics)[1, 5] == 1


def test_nothing_but_void(semantic_scores):
    scores = semantic_scores([[[255, 255]]], [[[0, 1]]], NAMES)
    assert np.isnan([s.value for s in scores.all]).all()


def test_pooled_and_per_image_differ(semantic_scores):
    truth, predicted = [[[1, 0, 0, 0]], [[1, 1, 1, 1]]], [[[0, 0, 0, 0]], [[1, 1, 1, 1]]]
    scores = semantic_scores(truth, predicted, NAMES)
    assert scores["dice", "a"] == pytest.approx(8 / 9)
    assert scores["dice_per_image", "a"] == 0.5
    assert scores["miou_per_image", "background"] == 0.75  # the second image has no background
    assert scores["miou_per_image"] == pytest.approx((0.75 + 0.5) / 2)


def test_16_bit_maps(semantic_scores):
    names = [str(i) for i in range(1000)]
    truth = np.arange(1000).reshape(20, 50)
    scores = semantic_scores([truth], [np.where(truth == 999, 998, truth)], names, ignore=65535)
    assert scores["miou", "998"] == 0.5 and scores["miou", "999"] == 0.0
    assert scores["miou"] == pytest.approx(998.5 / 1000)


def test_values_outside_the_class_list(semantic_scores):
    with pytest.raises(SegbenchError, match=r"000.png: value 7 at row 0, column 2 .*\n.*0 to 4, 255"):
        semantic_scores([[[0, 1, 7]]], [[[0, 1, 1]]], NAMES)
    with pytest.raises(SegbenchError, match="predicted/000.png: value 5 at row 0, column 1"):
        semantic_scores([[[0, 1, 1]]], [[[0, 5, 1]]], NAMES)


label_maps = arrays(np.uint8, (6, 7), elements=st.integers(0, 4))


@settings(max_examples=50, deadline=None)
@given(label_maps, label_maps, st.permutations(range(5)))
def test_properties(truth, predicted, order):
    index = semantic.ClassIndex(range(5), 255)

    def scores(t, p):
        matrix = semantic.confusion(regions(index.truth(t, ""), index.prediction(p, "")), 5)
        assert matrix.sum() == t.size
        table = np.stack([np.diag(matrix), matrix.sum(1), matrix[:, :5].sum(0)], -1)
        return semantic.class_scores(table)

    one, swapped = scores(truth, predicted), scores(predicted, truth)
    np.testing.assert_array_equal(one["miou"], swapped["miou"])
    np.testing.assert_array_equal(one["dice"], swapped["dice"])
    np.testing.assert_array_equal(one["precision"], swapped["recall"])
    np.testing.assert_allclose(one["dice"], 2 * one["miou"] / (1 + one["miou"]))
    order = np.array(order)
    np.testing.assert_array_equal(scores(order[truth], order[predicted])["miou"][order], one["miou"])
    assert np.nanmin(scores(truth, truth)["miou"]) == 1.0
    for values in one.values():
        assert ((values >= 0) & (values <= 1) | np.isnan(values)).all()
