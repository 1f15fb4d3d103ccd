from __future__ import annotations

import contextlib
import io
import json
import zipfile

import hotcoco
import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from segbench.evaluation.instance.matching import THRESHOLDS
from segbench.evaluation.statistics import Statistics

TWELVE = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)


def reference(truth, results, *, boxes: bool, limits=(1, 10, 100)):
    """pycocotools' twelve figures, and AP by class."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = json.loads(json.dumps(truth))
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(json.loads(json.dumps(results))), "bbox" if boxes else "segm")
        run.params.maxDets = list(limits)
        run.evaluate()
        run.accumulate()
    precision, recall = run.eval["precision"], run.eval["recall"]

    def mean(values):
        values = values[values > -1]
        return np.mean(values) if values.size else -1

    figures = [mean(precision[..., 0, -1]), mean(precision[0, ..., 0, -1]), mean(precision[5, ..., 0, -1])]
    figures += [mean(precision[..., a, -1]) for a in (1, 2, 3)]
    figures += [mean(recall[..., 0, m]) for m in range(3)] + [mean(recall[..., a, -1]) for a in (1, 2, 3)]
    if tuple(limits) == (1, 10, 100):
        with contextlib.redirect_stdout(io.StringIO()):
            run.summarize()
        assert figures == run.stats.tolist()
    return figures, [mean(precision[:, :, k, 0, -1]) for k in range(precision.shape[2])]


def same(ours, theirs):
    """Equal to the last bit; what pycocotools marks by -1 is undefined here."""
    ours, theirs = np.array(ours), np.array(theirs)
    return np.array_equal(np.isnan(ours), theirs == -1) and np.array_equal(
        ours[theirs > -1], theirs[theirs > -1]
    )


@pytest.mark.parametrize("boxes", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_equals_pycocotools(random_coco, instance_scores, seed, boxes):
    truth, results = random_coco(seed)
    scores = instance_scores(truth, results, boxes=boxes)
    figures, classes = reference(truth, results, boxes=boxes)
    prefix = "box_" if boxes else ""
    assert same([scores[prefix + m] for m in TWELVE], figures)
    assert same([scores[prefix + "ap", c["name"]] for c in truth["categories"]], classes)


def test_equals_pycocotools_where_results_have_no_boxes(random_coco, instance_scores):
    truth, results = random_coco(0)
    for result in results:
        del result["bbox"]  # the area that decides small, medium and large is now the mask's
    assert same(
        [instance_scores(truth, results)[m] for m in TWELVE], reference(truth, results, boxes=False)[0]
    )


def strip(results, *fields):
    return [{k: v for k, v in r.items() if k not in fields} for r in results]


@pytest.mark.parametrize("boxes", [False, True])
def test_results_have_the_area_of_their_mask_or_box(random_coco, instance_scores, boxes):
    truth, results = random_coco(1)
    own = [{**r, "area": 1e7} for r in results]
    for given in (results, strip(results, "bbox")):
        expected = reference(truth, given, boxes=boxes)[0]
        given = own if given is results else strip(own, "bbox")
        scores = instance_scores(truth, given, boxes=boxes)
        prefix = "box_" if boxes else ""
        assert same([scores[prefix + m] for m in TWELVE], expected)
        assert scores[prefix + "ap_small"] > 0


def test_boxes_of_masks_are_their_bounds(random_coco, instance_scores):
    truth, results = random_coco(2)
    masks = strip(results, "bbox")
    scores = instance_scores(truth, masks, boxes=True)
    assert same([scores["box_" + m] for m in TWELVE], reference(truth, masks, boxes=True)[0])
    for image in truth["images"]:
        del image["height"], image["width"]
    scores = instance_scores(truth, masks, boxes=True)  # run lengths know their size
    assert same([scores["box_" + m] for m in TWELVE], reference(truth, masks, boxes=True)[0])


@pytest.mark.parametrize("crowd", [None, 0, False, "missing"])
def test_absent_iscrowd_means_no_crowd(random_coco, instance_scores, crowd):
    truth, results = random_coco(3)
    for annotation in truth["annotations"]:
        annotation["iscrowd"] = 0
    expected = reference(truth, results, boxes=False)[0]
    for annotation in truth["annotations"][::2]:
        annotation["iscrowd"] = crowd
        if crowd == "missing":
            del annotation["iscrowd"]
    assert same([instance_scores(truth, results)[m] for m in TWELVE], expected)


def test_scores_beyond_one_are_not_probabilities(random_coco, instance_scores, caplog):
    truth, results = random_coco(0)
    expected = reference(truth, results, boxes=False)[0]
    assert np.isfinite(instance_scores(truth, results)["ece"]) and not caplog.messages
    for result in results:
        result["score"] *= 97
    scores = instance_scores(truth, results)
    assert same([scores[m] for m in TWELVE], expected)
    assert np.isnan(scores["ece"]) and np.isnan(scores["ece", "c1"])
    assert "results.json: scores range from" in caplog.text and "calibration is undefined" in caplog.text


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_equals_pycocotools_on_coco(mirror, instance_scores, split):
    with zipfile.ZipFile(mirror / "annotations_trainval2017.zip") as archive:
        truth = json.loads(archive.read(f"annotations/instances_{split}.json"))
    rng = np.random.default_rng(0)
    coco = COCO()
    coco.dataset = truth
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    results = []
    for annotation in truth["annotations"]:
        for _ in range(rng.integers(0, 3)):
            mask = np.roll(coco.annToMask(annotation), rng.integers(-4, 5, 2), (0, 1))
            found = rle.encode(np.asfortranarray(mask))
            results.append(
                {
                    "image_id": annotation["image_id"],
                    "category_id": annotation["category_id"],
                    "score": float(rng.random()),
                    "bbox": rle.toBbox(found).tolist(),
                    "segmentation": {"size": found["size"], "counts": found["counts"].decode()},
                }
            )
    scores = instance_scores(truth, results)
    figures, classes = reference(truth, results, boxes=False)
    assert same([scores[m] for m in TWELVE], figures)
    names = [c["name"] for c in sorted(truth["categories"], key=lambda c: c["id"])]
    assert same([scores["ap", n] for n in names], classes)


def test_375_objects_need_more_detections(random_coco, instance_scores):
    rng = np.random.default_rng(1)
    boxes = [[20 * (i % 25), 20 * (i // 25), 12 + i % 5, 12 + i % 3] for i in range(375)]
    image = {"id": 1, "height": 320, "width": 520, "file_name": "nuclei.png"}
    truth = {
        "images": [image],
        "categories": [{"id": 1, "name": "nucleus"}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": b, "area": b[2] * b[3]}
            for i, b in enumerate(boxes, 1)
        ],
    }
    results = [{"image_id": 1, "category_id": 1, "score": float(rng.random()), "bbox": b} for b in boxes]
    few = instance_scores(truth, results, boxes=True)
    assert few["box_ar100"] == pytest.approx(100 / 375)
    assert few["box_ap"] == pytest.approx(27 / 101)  # recalls 0 to 0.26 are reached
    many = instance_scores(truth, results, boxes=True, max_detections=(1, 10, 400))
    assert many["box_ap"] == pytest.approx(1)
    assert many["box_ar400"] == 1.0
    assert {s.contract.max_detections for s in many.all if s.metric == "box_ap"} == {400}
    figures, _ = reference(truth, results, boxes=True, limits=(1, 10, 400))
    assert same(
        [many[m] for m in ("box_ap", "box_ar1", "box_ar10", "box_ar400")], np.take(figures, [0, 6, 7, 8])
    )


def test_annotation_id_0_is_reported_and_scored_rightly(instance_scores, caplog):
    truth = truth_of([square(1, 1, 0, 40), square(1, 1, 50, 40)])
    results = [square(1, 1, 0, 40, score=0.9), square(1, 1, 50, 40, score=0.8)]
    for annotation in truth["annotations"]:
        annotation["id"] -= 1
    assert instance_scores(truth, results)["ap"] == pytest.approx(1)
    assert "ids start at 0" in caplog.text
    assert reference(truth, results, boxes=False)[0][0] < 0.6  # pycocotools counts that object as missed


@pytest.mark.parametrize("seed", range(3))
def test_calibration_equals_hotcoco(random_coco, instance_scores, tmp_path, seed):
    truth, results = random_coco(seed)
    scores = instance_scores(truth, results)
    run = hotcoco.COCOeval(
        hotcoco.COCO(str(tmp_path / "truth.json")),
        hotcoco.COCO(str(tmp_path / "truth.json")).load_res(str(tmp_path / "results.json")),
        "segm",
    )
    run.evaluate()
    theirs = run.calibration(n_bins=10, iou_threshold=0.5)
    assert scores["ece"] == pytest.approx(theirs["ece"], abs=1e-12)
    for name, value in theirs["per_category"].items():
        assert scores["ece", name] == pytest.approx(value, abs=1e-12)


def square(image_id, class_id, left, width, score=None):
    """A box of `width` x 10 pixels, as annotation or as result."""
    mask = np.zeros((20, 100), bool)
    mask[:10, left : left + width] = True
    found = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
    item = {
        "image_id": image_id,
        "category_id": class_id,
        "bbox": [left, 0, width, 10],
        "segmentation": {"size": [20, 100], "counts": found["counts"].decode()},
    }
    return item | ({"score": score} if score is not None else {"iscrowd": 0, "area": width * 10})


def truth_of(annotations, images=(1,), classes=(1,)):
    return {
        "images": [{"id": i, "height": 20, "width": 100, "file_name": f"{i}.png"} for i in images],
        "categories": [{"id": c, "name": f"c{c}"} for c in classes],
        "annotations": [{"id": i, **a} for i, a in enumerate(annotations, 1)],
    }


def test_iou_of_exactly_half_matches_for_ap_and_not_for_objects(instance_scores):
    truth = truth_of([square(1, 1, 0, 40)])
    scores = instance_scores(truth, [square(1, 1, 0, 20, score=0.9)])
    assert scores["ap50"] == pytest.approx(1) and scores["ap"] == pytest.approx(0.1)
    assert scores["object_f1"] == 0.0 and scores["instance_miou"] == 0.5


def test_absent_classes_and_empty_images(instance_scores):
    truth = truth_of([square(1, 1, 0, 40), square(1, 2, 50, 40)], images=(1, 2), classes=(1, 2, 3, 4))
    results = [square(1, 1, 0, 40, score=0.9), square(2, 3, 0, 40, score=0.8)]
    scores = instance_scores(truth, results)
    assert [scores["ap", f"c{c}"] for c in (1, 2)] == pytest.approx([1, 0])
    assert np.isnan([scores["ap", f"c{c}"] for c in (3, 4)]).all()  # COCO: no truth, no AP
    assert scores["ap"] == pytest.approx(0.5)
    assert [scores["object_f1", f"c{c}"] for c in (1, 2, 3)] == [1.0, 0.0, 0.0]
    assert np.isnan(scores["object_f1", "c4"])
    assert np.isnan(scores["object_precision", "c2"]) and scores["object_recall", "c2"] == 0.0
    assert np.isnan(scores["object_recall", "c3"]) and scores["object_precision", "c3"] == 0.0
    assert scores["dsb2018"] == pytest.approx(1 / 3)


def test_no_results_and_no_truth(instance_scores):
    truth = truth_of([square(1, 1, 0, 40)])
    assert instance_scores(truth, [])["ap"] == 0.0
    assert np.isnan(instance_scores(truth_of([]), [square(1, 1, 0, 40, score=0.9)])["ap"])
    assert np.isnan(instance_scores(truth_of([]), [])["object_f1"])


def test_crowd_hides_what_lies_in_it(instance_scores):
    crowd = square(1, 1, 40, 60) | {"iscrowd": 1}
    truth = truth_of([square(1, 1, 0, 30), crowd])
    inside = [square(1, 1, 40, 10, score=0.95), square(1, 1, 60, 20, score=0.9)]
    results = [square(1, 1, 0, 30, score=0.8), *inside]
    scores = instance_scores(truth, results)
    assert scores["ap"] == pytest.approx(1)
    assert scores["object_f1"] == scores["aji"] == 1.0
    assert scores["ece"] == pytest.approx(0.2)  # of the one detection that counts


def test_overlapping_predictions_pair_one_to_one(instance_scores):
    truth = truth_of([square(1, 1, 0, 40), square(1, 1, 40, 40)])
    results = [
        square(1, 1, 0, 40, score=0.9),
        square(1, 1, 0, 36, score=0.8),
        square(1, 1, 44, 36, score=0.7),
    ]
    scores = instance_scores(truth, results)
    assert scores["object_precision"] == pytest.approx(2 / 3)
    assert scores["object_recall"] == 1.0
    assert scores["object_f1"] == pytest.approx(0.8)
    assert scores["instance_miou"] == pytest.approx((1 + 0.9) / 2)
    # at .50 to .85 two of three hit; at .90 and .95 (IoU > .9, strictly) one hit, two false, one missed
    assert scores["dsb2018"] == pytest.approx((8 * 2 / 3 + 2 * 1 / 4) / 10)
    # AJI: 400 + 360 of union 400 + 400, and the spurious 360
    assert scores["aji"] == pytest.approx(760 / 1160)


def test_objects_below_the_least_score_count_for_ap_only(instance_scores):
    truth = truth_of([square(1, 1, 0, 40)])
    scores = instance_scores(truth, [square(1, 1, 0, 40, score=0.4)])
    assert scores["ap"] == pytest.approx(1) and scores["object_recall"] == 0.0


def aji_slow(truth, predicted):
    """Kumar et al., algorithm 1, over lists of bool masks."""
    used, inter, union = set(), 0, 0
    for t in truth:
        ious = [(t & p).sum() / (t | p).sum() for p in predicted]
        best = int(np.argmax(ious)) if ious else -1
        if not ious or ious[best] == 0:
            union += t.sum()
            continue
        used.add(best)
        inter += (t & predicted[best]).sum()
        union += (t | predicted[best]).sum()
    union += sum(p.sum() for i, p in enumerate(predicted) if i not in used)
    return inter / union


@pytest.mark.parametrize("seed", range(4))
def test_object_scores_equal_a_plain_implementation(random_coco, instance_scores, seed):
    from scipy.optimize import linear_sum_assignment

    truth, results = random_coco(seed, classes=3)
    truth["annotations"] = [a for a in truth["annotations"] if not a["iscrowd"]]
    scores = instance_scores(truth, results)
    tp, fp, fn, iou_sum = 0, 0, 0, 0.0
    sweeps, ajis = [], []
    for image in truth["images"]:
        t = [rle.decode(a["segmentation"]).astype(bool) for a in truth["annotations"] if pick(a, image, 1)]
        p = [
            rle.decode(r["segmentation"]).astype(bool)
            for r in results
            if pick(r, image, 1) and r["score"] >= 0.5
        ]
        if not t and not p:
            continue
        iou = np.array([[(a & b).sum() / (a | b).sum() for b in p] for a in t]).reshape(len(t), len(p))
        paired = iou[linear_sum_assignment(-iou)]
        hits = [(paired > threshold).sum() for threshold in THRESHOLDS]
        tp, fp, fn = tp + hits[0], fp + len(p) - hits[0], fn + len(t) - hits[0]
        iou_sum += paired.sum()
        sweeps.append(np.mean([h / (len(t) + len(p) - h) for h in hits]))
        ajis.append(aji_slow(t, p))
    assert scores["object_precision", "c1"] == pytest.approx(tp / (tp + fp))
    assert scores["object_recall", "c1"] == pytest.approx(tp / (tp + fn))
    assert scores["object_f1", "c1"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert scores["instance_miou", "c1"] == pytest.approx(iou_sum / (tp + fn))
    assert scores["dsb2018", "c1"] == pytest.approx(np.mean(sweeps))
    assert scores["aji", "c1"] == pytest.approx(np.mean(ajis))


def pick(item, image, class_id):
    return item["image_id"] == image["id"] and item["category_id"] == class_id


@pytest.mark.parametrize("seed", range(2))
def test_each_true_object_has_its_area_and_its_partner(random_coco, instance_scores, tmp_path, seed):
    from scipy.optimize import linear_sum_assignment

    truth, results = random_coco(seed, classes=3)
    instance_scores(truth, results)
    seen = 0
    for batch in Statistics(tmp_path / "instance.parquet").batches(
        "instance", ("object_areas", "object_partners")
    ):
        areas, lengths = batch.lists("object_areas")
        partners = batch.lists("object_partners")[0]
        for row, end in enumerate(np.cumsum(lengths)):
            place = slice(end - lengths[row], end)
            image, kind = {"id": batch.image_ids[batch.image[row]]}, batch.class_ids[row]
            true = [a for a in truth["annotations"] if pick(a, image, kind) and not a["iscrowd"]]
            sure = [r for r in results if pick(r, image, kind) and r["score"] >= 0.5]
            masks = [
                [rle.decode(o["segmentation"]).astype(bool) for o in objects] for objects in (true, sure)
            ]
            iou = np.array([[(a & b).sum() / (a | b).sum() for b in masks[1]] for a in masks[0]])
            iou = iou.reshape(len(true), len(sure))
            assert areas[place].tolist() == [a["area"] for a in true]
            assert partners[place].sum() == pytest.approx(iou[linear_sum_assignment(-iou)].sum())
            for found, possible in zip(partners[place], iou):  # pairs of an equal sum may be exchanged
                assert np.isclose(found, [0, *possible]).any()
            seen += len(true)
    assert seen == sum(not a["iscrowd"] for a in truth["annotations"])
