from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from hotcoco.panoptic import PanopticEval
from PIL import Image

from segbench.contract.view import Category
from segbench.data.dataset import rgb_to_id
from segbench.errors import SegbenchError
from segbench.evaluation.panoptic.files import PanopticFiles
from segbench.evaluation.panoptic.quality import add_image
from segbench.evaluation.statistics import Rows

CATEGORIES = [
    {"id": 1, "name": "sky", "isthing": 0},
    {"id": 2, "name": "road", "isthing": 0},
    {"id": 7, "name": "car", "isthing": 1},
    {"id": 9, "name": "tree", "isthing": 1},
    {"id": 11, "name": "boat", "isthing": 1},
]
NAME = {c["id"]: c["name"] for c in CATEGORIES}


def slow_pq(truth, predicted):
    """panopticapi's rules, pixel set by pixel set: {class id: [sum of IoU, TP, FP, FN]}."""
    table = {c["id"]: [0.0, 0, 0, 0] for c in CATEGORIES}
    for image_id, (true_ids, true_info) in truth.items():
        ids, info = predicted[image_id]
        void = true_ids == 0
        matched_truth, matched = set(), set()
        for t in true_info:
            for p in info:
                a, b = true_ids == t["id"], ids == p["id"]
                if t.get("iscrowd") or t["category_id"] != p["category_id"] or not (a & b).any():
                    continue
                iou = (a & b).sum() / ((a | b) & ~(void & b)).sum()
                if iou > 0.5:
                    matched_truth.add(t["id"])
                    matched.add(p["id"])
                    table[t["category_id"]][0] += iou
                    table[t["category_id"]][1] += 1
        crowds = {}
        for t in true_info:
            if t["id"] in matched_truth:
                continue
            if t.get("iscrowd"):
                crowds[t["category_id"]] = true_ids == t["id"]
                continue
            table[t["category_id"]][3] += 1
        for p in info:
            if p["id"] in matched:
                continue
            mask = ids == p["id"]
            hidden = (mask & void).sum() + (mask & crowds.get(p["category_id"], False)).sum()
            if hidden / mask.sum() > 0.5:
                continue
            table[p["category_id"]][2] += 1
    return table


def quality(rows):
    rows = np.array(rows, float)
    rows = rows[rows[:, 1:].sum(1) > 0]
    pq = rows[:, 0] / (rows[:, 1] + rows[:, 2] / 2 + rows[:, 3] / 2)
    sq = np.where(rows[:, 1] > 0, rows[:, 0] / np.maximum(rows[:, 1], 1), 0)
    return pq.mean(), sq.mean(), (rows[:, 1] / (rows[:, 1:] @ [1, 0.5, 0.5])).mean()


def random_side(rng, base=None, shape=(30, 40), offset=0):
    """Blocks of segments, some void; `base` perturbed where one is given."""
    if base is None:
        ids = np.kron(rng.integers(0, 9, (3, 4)), np.ones((10, 10), int))[: shape[0], : shape[1]]
    else:
        ids = np.roll(base, rng.integers(-2, 3, 2), (0, 1))
        ids = np.where(rng.random((3, 4)).repeat(10, 0).repeat(10, 1) < 0.2, rng.integers(0, 9), ids)
    info, stuff = [], {}
    for i in np.unique(ids[ids > 0]):
        category = int(rng.choice([1, 2, 7, 9]))
        if category < 3 and category in stuff:
            ids = np.where(ids == i, stuff[category], ids)
            continue
        stuff[category] = int(i)
        info.append({"id": int(i), "category_id": category})
    ids = np.where(ids > 0, ids + offset, 0)
    return ids, [{**s, "id": s["id"] + offset} for s in info]


@pytest.mark.parametrize("seed", range(6))
def test_equals_panopticapis_rules(panoptic_files, panoptic_scores, seed):
    rng = np.random.default_rng(seed)
    truth, predicted = {}, {}
    for image_id in range(5, 13):
        ids, info = truth[image_id] = random_side(rng, offset=70_000)  # beyond 16 bit
        for segment in info:
            segment["iscrowd"] = int(segment["category_id"] > 2 and rng.random() < 0.3)
        guess, other = random_side(rng, ids)
        classes = {s["id"]: s["category_id"] for s in info}
        number = {s["id"]: i for i, s in enumerate(info, 1)}
        if rng.random() < 0.7:  # keep the true classes, so that segments match
            guess = np.roll(ids, 1, 1)
            other = [{"id": i, "category_id": c} for i, c in classes.items() if (guess == i).any()]
            guess = np.select([guess == i for i in number], list(number.values()), 0)
            other = [{**s, "id": number[s["id"]]} for s in other]
        predicted[image_id] = guess, other
    paths = panoptic_files("truth", truth, CATEGORIES), panoptic_files("predicted", predicted, CATEGORIES)
    scores = panoptic_scores(*paths)
    table = slow_pq(truth, predicted)
    for suffix, ids in {"": NAME, "_things": [7, 9, 11], "_stuff": [1, 2]}.items():
        expected = quality([table[c] for c in ids])
        assert [scores[m + suffix] for m in ("pq", "sq", "rq")] == pytest.approx(expected, abs=1e-12)
    assert sum(row[1] for row in table.values()) > 5  # the test has matches to compare

    (true_json, true_folder), (json_path, folder) = paths
    run = PanopticEval(str(true_json), str(json_path), gt_folder=str(true_folder), pred_folder=str(folder))
    run.evaluate()
    theirs = run.results()
    for suffix, group in {"": "All", "_things": "Things", "_stuff": "Stuff"}.items():
        for metric in ("pq", "sq", "rq"):
            assert scores[metric + suffix] == pytest.approx(theirs[group][metric], abs=1e-12)
    for class_id, name in NAME.items():
        value, counts = scores["pq", name], theirs["per_class"][class_id]
        assert np.isnan(value) if counts["pq"] < 0 else value == pytest.approx(counts["pq"], abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_predictions_as_masks_and_as_png_files_have_the_same_counts(panoptic_files, seed):
    rng = np.random.default_rng(seed)
    true = random_side(rng)
    sides = true, random_side(rng, true[0])
    files = [
        PanopticFiles(*panoptic_files(name, {5: side}, CATEGORIES))
        for name, side in zip(("true", "guess"), sides)
    ]
    classes = [Category(**c, color=(0, 0, 0)) for c in CATEGORIES]
    found = []
    for predicted in (files[1].annotations(5), files[1].read(5, (30, 40)).annotations(5)):
        rows = Rows("panoptic")
        add_image(rows, 5, "five", files[0].annotations(5), predicted, classes)
        found.append(rows.batch().to_pylist())
    assert len(found[0]) > 1 and found[0] == found[1]


def test_equals_hotcoco_on_coco(mirror, panoptic_files, panoptic_scores):
    with zipfile.ZipFile(mirror / "panoptic_annotations_trainval2017.zip") as archive:
        listing = json.loads(archive.read("annotations/panoptic_val2017.json"))
        pngs = zipfile.ZipFile(io.BytesIO(archive.read("annotations/panoptic_val2017.zip")))
    rng = np.random.default_rng(0)
    truth, predicted = {}, {}
    for annotation in listing["annotations"]:
        (name,) = [n for n in pngs.namelist() if n.endswith(f"/{annotation['file_name']}")]
        ids = rgb_to_id(np.asarray(Image.open(pngs.open(name))))
        truth[annotation["image_id"]] = ids, annotation["segments_info"]
        guess = np.roll(ids, rng.integers(-9, 10, 2), (0, 1))
        info = [{"id": s["id"], "category_id": s["category_id"]} for s in annotation["segments_info"]]
        predicted[annotation["image_id"]] = guess, [s for s in info if (guess == s["id"]).any()]
    categories = listing["categories"]
    paths = panoptic_files("truth", truth, categories), panoptic_files("predicted", predicted, categories)
    scores = panoptic_scores(*paths)
    (true_json, true_folder), (json_path, folder) = paths
    run = PanopticEval(str(true_json), str(json_path), gt_folder=str(true_folder), pred_folder=str(folder))
    run.evaluate()
    theirs = run.results()
    assert 0.3 < scores["pq"] < 1
    for suffix, group in {"": "All", "_things": "Things", "_stuff": "Stuff"}.items():
        for metric in ("pq", "sq", "rq"):
            assert scores[metric + suffix] == pytest.approx(theirs[group][metric], abs=1e-12)


def strip(*runs):
    """One row of pixels: (segment id, length) each."""
    return np.concatenate([np.full(n, i) for i, n in runs])[None]


def one_image(panoptic_files, panoptic_scores, truth, predicted):
    sides = []
    for name, (ids, info) in (("truth", truth), ("predicted", predicted)):
        info = [{"id": i, "category_id": c, "iscrowd": crowd} for i, c, crowd in info]
        sides.append(panoptic_files(name, {1: (ids, info)}, CATEGORIES))
    return panoptic_scores(*sides)


def test_iou_of_exactly_half_does_not_match(panoptic_files, panoptic_scores):
    truth = strip((5, 20), (6, 20)), [(5, 7, 0), (6, 1, 0)]
    scores = one_image(
        panoptic_files, panoptic_scores, truth, (strip((3, 10), (4, 30)), [(3, 7, 0), (4, 1, 0)])
    )
    assert scores["pq", "car"] == 0.0 and scores["sq", "car"] == 0.0
    scores = one_image(
        panoptic_files, panoptic_scores, truth, (strip((3, 11), (4, 29)), [(3, 7, 0), (4, 1, 0)])
    )
    assert scores["pq", "car"] == pytest.approx(11 / 20)


def test_void_and_crowd(panoptic_files, panoptic_scores):
    truth = strip((5, 20), (0, 20), (6, 20)), [(5, 7, 0), (6, 9, 1)]
    # the first covers its object and void; the second lies mostly on void, the third mostly on the crowd
    predicted = strip((1, 30), (2, 10), (2, 9), (3, 11)), [(1, 7, 0), (2, 7, 0), (3, 9, 0)]
    scores = one_image(panoptic_files, panoptic_scores, truth, predicted)
    assert scores["pq", "car"] == 1.0
    assert np.isnan(scores["pq", "tree"])  # a crowd is not counted, nor is a prediction in it
    # a crowd hides predictions of its own class only
    predicted = strip((1, 40), (3, 20)), [(1, 7, 0), (3, 11, 0)]
    scores = one_image(panoptic_files, panoptic_scores, truth, predicted)
    assert scores["pq", "boat"] == 0.0 and scores["pq"] == 0.5


def test_class_absent_on_either_side(panoptic_files, panoptic_scores):
    truth = strip((5, 20), (6, 20)), [(5, 1, 0), (6, 2, 0)]
    scores = one_image(
        panoptic_files, panoptic_scores, truth, (strip((1, 20), (2, 20)), [(1, 1, 0), (2, 7, 0)])
    )
    assert [scores["pq", n] for n in ("sky", "road", "car")] == [1.0, 0.0, 0.0]
    assert np.isnan([scores["pq", n] for n in ("tree", "boat")]).all()
    assert scores["pq"] == pytest.approx(1 / 3) and scores["pq_things"] == 0.0 and scores["pq_stuff"] == 0.5


def test_empty_prediction(panoptic_files, panoptic_scores):
    truth = strip((5, 20), (0, 20)), [(5, 1, 0)]
    scores = one_image(panoptic_files, panoptic_scores, truth, (strip((0, 40)), []))
    assert scores["pq"] == 0.0 and np.isnan(scores["pq", "car"])


def test_mpq_averages_images_then_classes(panoptic_files, panoptic_scores):
    """CoNIC's example in small: an image with one of four hit, and one with all hit."""
    many = strip(*((i, 10) for i in range(1, 5)))
    info = [{"id": i, "category_id": 7} for i in range(1, 5)]
    single = strip((1, 40)), [{"id": 1, "category_id": 7}]
    truth = panoptic_files("truth", {1: (many, info), 2: single}, CATEGORIES)
    guess = strip((1, 10), (0, 30)), info[:1]
    predicted = panoptic_files("predicted", {1: guess, 2: single}, CATEGORIES)
    scores = panoptic_scores(truth, predicted)
    assert scores["mpq", "car"] == pytest.approx((1 / 2.5 + 1) / 2)
    assert scores["mpq_plus", "car"] == scores["pq", "car"] == pytest.approx(2 / 3.5)


def test_files_that_disagree_with_themselves(panoptic_files, panoptic_scores):
    ids = strip((1, 10), (2, 10))
    info = [{"id": 1, "category_id": 1}, {"id": 2, "category_id": 2}]
    truth = panoptic_files("truth", {4: (ids, info)}, CATEGORIES)
    for bad, message in (
        ((ids, info[:1]), r"bad.json: image 4: .*segment 2 is in the PNG but not in segments_info"),
        (
            (ids, [*info, {"id": 3, "category_id": 1}]),
            r"bad.json: image 4: .*segment 3 is in segments_info but not in the mask",
        ),
        (
            (ids, [info[0], {"id": 2, "category_id": 5}]),
            r"bad.json: image 4: category 5 is not in the class list",
        ),
        ((ids, [info[0], info[0]]), r"bad.json: image 4: segment ids are not unique"),
        ((ids[:, :10], info[:1]), r"bad.json: image 4: ground truth is 1×20 but the prediction is 1×10"),
    ):
        with pytest.raises(SegbenchError, match=message):
            panoptic_scores(truth, panoptic_files("bad", {4: bad}, CATEGORIES))


def test_images_that_one_side_lacks(panoptic_files, panoptic_scores):
    image = strip((1, 10)), [{"id": 1, "category_id": 1}]
    both = panoptic_files("both", {4: image, 6: image}, CATEGORIES)
    one = panoptic_files("one", {4: image}, CATEGORIES)
    with pytest.raises(SegbenchError, match=r"one.json: has nothing for image 6"):
        panoptic_scores(both, one)
    assert panoptic_scores(both, one, missing_as_empty=True)["pq"] == pytest.approx(1 / 1.5)
    with pytest.raises(SegbenchError, match=r"both.json: image 6 is not in the truth"):
        panoptic_scores(one, both)
