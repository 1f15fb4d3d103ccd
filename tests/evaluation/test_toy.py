"""One small map, scored by the contract and by the conventions of libraries: see docs/metrics.md."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from hotcoco import metrics as hotcoco_metrics

TRUTH = np.repeat([0, 1, 2], [43, 17, 17]).reshape(7, 11)
"""Class 3 is predicted and never true, class 4 is neither; IoUs: 1, 9/17, 1, 0, undefined."""
PREDICTED = np.where(np.arange(77).reshape(7, 11) < 52, TRUTH, np.where(TRUTH == 1, 3, TRUTH))


def test_the_contract(semantic_scores):
    void = np.full((1, 11), 255)
    names = ["0", "1", "2", "3", "4"]
    scores = semantic_scores(
        [np.concatenate([TRUTH, void])], [np.concatenate([PREDICTED, void * 0 + 4])], names
    )
    assert [scores["miou", n] for n in names[:4]] == [1, 9 / 17, 1, 0]
    assert np.isnan(scores["miou", "4"])
    assert f"{scores['miou']:.3f}" == "0.632"
    # the void row is dropped, though class 4 is predicted there: counted, it would be a false positive


def scikit_learn(**keywords):
    return sklearn.metrics.jaccard_score(TRUTH.ravel(), PREDICTED.ravel(), labels=range(5), **keywords)


def torchmetrics(**keywords):
    import torch
    from torchmetrics.classification import MulticlassJaccardIndex

    return MulticlassJaccardIndex(5, **keywords)(torch.tensor(PREDICTED), torch.tensor(TRUTH)).item()


def segmentation_models(**keywords):
    import torch
    from segmentation_models_pytorch.metrics import get_stats, iou_score

    maps = (torch.tensor(m)[None] for m in (PREDICTED, TRUTH))
    return iou_score(*get_stats(*maps, mode="multiclass", num_classes=5), **keywords).item()


def counts():
    matrix = sklearn.metrics.confusion_matrix(TRUTH.ravel(), PREDICTED.ravel(), labels=range(5))
    return matrix, np.diag(matrix), matrix.sum(0) + matrix.sum(1) - np.diag(matrix)


def mmsegmentation():
    """nanmean over the classes, as its IoUMetric has it."""
    return hotcoco_metrics.mean_iou(counts()[0])["mIoU"]


def detectron2():
    """SemSegEvaluator: only classes with truth."""
    matrix, hits, union = counts()
    present = matrix.sum(1) > 0
    return float(np.mean(hits[present] / union[present]))


def plain_numpy():
    """The line that many repositories have: np.mean(diag / union)."""
    _, hits, union = counts()
    with np.errstate(invalid="ignore"):
        return float(np.mean(hits / union))


@pytest.mark.parametrize(
    ("library", "keywords", "value"),
    [
        (mmsegmentation, {}, "0.632"),
        (torchmetrics, {"average": "macro"}, "0.632"),
        (detectron2, {}, "0.843"),
        (plain_numpy, {}, "nan"),
        (scikit_learn, {"average": "macro", "zero_division": 0}, "0.506"),
        (scikit_learn, {"average": "macro", "zero_division": 1}, "0.706"),
        (segmentation_models, {"reduction": "macro"}, "0.706"),
        (torchmetrics, {"average": "micro"}, "0.812"),
        (segmentation_models, {"reduction": "micro"}, "0.812"),
        (scikit_learn, {"average": "micro"}, "0.812"),
    ],
)
def test_libraries_differ(library, keywords, value):
    assert f"{library(**keywords):.3f}" == value
