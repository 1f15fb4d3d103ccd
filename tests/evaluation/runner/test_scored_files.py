"""COCO files of other programs: read as pycocotools reads them, or refused with field, value and remedy."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from segbench.errors import SegbenchError
from segbench.evaluation.runner.score import app
from segbench.evaluation.runner.scored_files import score_instance


@pytest.fixture
def pair(random_coco):
    return copy.deepcopy(random_coco(0))


@pytest.mark.parametrize(
    ("segmentation", "shown"),
    [
        ([], r"\[\]"),
        (None, "null"),
        ("missing", "null"),
        ({}, r"\{\}"),
        ([[3, 4, 9, 9]], r"\[\[3, 4, 9, 9\]\]"),
        ([[]], r"\[\[\]\]"),
    ],
)
def test_truth_without_outlines(pair, instance_scores, segmentation, shown):
    truth, results = pair
    expected = instance_scores(truth, results, boxes=True)["box_ap"]
    for annotation in truth["annotations"][4:7]:
        annotation["segmentation"] = segmentation
        if segmentation == "missing":
            del annotation["segmentation"]
    with pytest.raises(
        SegbenchError,
        match=rf"truth.json: 3 of {len(truth['annotations'])} objects have no outline, "
        rf"first annotation 5 of image \d+ \(segmentation: {shown}\)\n.*--boxes",
    ):
        instance_scores(truth, results)
    assert instance_scores(truth, results, boxes=True)["box_ap"] == expected


def test_objects_without_outline_and_box(pair, instance_scores):
    truth, results = pair
    results[2] |= {"segmentation": [], "bbox": None}
    for boxes in (False, True):
        with pytest.raises(
            SegbenchError, match=r"results.json: 1 of \d+ objects have no .*outline, first result 3.*\n.*bbox"
        ):
            instance_scores(truth, results, boxes=boxes)


@pytest.mark.parametrize(
    ("where", "change", "message"),
    [
        ("annotations", {"image_id": "3"}, 'truth.json: annotation 1: image_id is "3", not a whole number'),
        ("annotations", {"image_id": None}, "truth.json: annotation 1 has no image_id"),
        ("annotations", {"image_id": 3.5}, "truth.json: annotation 1: image_id is 3.5, not a whole number"),
        ("annotations", {"category_id": "1"}, 'truth.json: annotation 1: category_id is "1"'),
        ("annotations", {"id": "1"}, 'truth.json: annotation 1: id is "1"'),
        ("annotations", {"iscrowd": "0"}, 'truth.json: annotation 1: iscrowd is "0", not 0 or 1'),
        ("annotations", {"iscrowd": 2}, "truth.json: annotation 1: iscrowd is 2, not 0 or 1"),
        ("annotations", {"area": "12"}, 'truth.json: annotation 1: area is "12", not a finite number'),
        ("annotations", {"category_id": 9}, "truth.json: image 3: category 9 is not in the class list"),
        ("categories", {"id": "1"}, 'truth.json: category 1: id is "1", not a whole number'),
        ("categories", {"id": 2}, 'truth.json: category id 2 is listed twice: "c1" and "c2"'),
        ("categories", {"id": 2**31}, "truth.json: category id 2147483648 has more than 32 bits"),
        ("categories", {"name": "c2"}, 'truth.json: category "c2" is listed twice, with the ids 1 and 2'),
        ("categories", {"name": None}, "truth.json: category 1 has no name"),
        ("categories", {"name": ""}, 'truth.json: category 1: name is "", not a name'),
        ("categories", {"name": 5}, "truth.json: category 1: name is 5, not a name"),
        ("categories", {"isthing": "no"}, 'truth.json: category 1: isthing is "no", not 0 or 1'),
        ("images", {"id": "3"}, 'truth.json: image 1: id is "3", not a whole number'),
        (
            "images",
            {"id": 4},
            r'truth.json: image id 4 is listed twice: "3.jpg" and "4.jpg"\n.*its own id',
        ),
        (
            "images",
            {"height": None},
            r"truth.json: image 3 has no height and width, which masks need\n.*--boxes",
        ),
        ("images", {"height": "130"}, "truth.json: image 3 has 150 x '130' pixels"),
    ],
)
def test_faults_of_the_truth(pair, instance_scores, where, change, message):
    truth, results = pair
    truth[where][0].update(change)
    with pytest.raises(SegbenchError, match=message) as caught:
        instance_scores(truth, results)
    assert "remedy" in str(caught.value) and "results.json" not in str(caught.value)


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
@pytest.mark.parametrize("value", [None, {}, [None], "text"])
def test_null_lists_are_absent(pair, instance_scores, key, value):
    truth, results = pair
    truth[key] = value
    with pytest.raises(SegbenchError, match=rf"truth.json: {key} are .*, not a list of objects"):
        instance_scores(truth, results)


def test_whole_numbers_with_a_point_are_ids(pair, instance_scores):
    truth, results = pair
    expected = instance_scores(truth, results)["ap"]
    for entry in [*truth["annotations"], *results]:
        entry |= {"image_id": float(entry["image_id"]), "category_id": float(entry["category_id"])}
    assert instance_scores(truth, results)["ap"] == expected


def test_results_in_an_object(pair, instance_scores):
    truth, results = pair
    expected = instance_scores(truth, results)["ap"]
    assert instance_scores(truth, {"annotations": results})["ap"] == expected
    same = {"annotations": results, "categories": truth["categories"][::-1], "images": truth["images"][::-1]}
    assert instance_scores(truth, same)["ap"] == expected
    with pytest.raises(SegbenchError, match=r"results.json: is not a list of COCO results\n.*`annotations`"):
        instance_scores(truth, {"results": results})


def test_lists_that_mean_other_things(pair, instance_scores, caplog):
    truth, results = pair
    categories = [{"id": i, "name": name} for i, name in ((1, "c2"), (2, "c1"), (3, "c3"))]
    with pytest.raises(
        SegbenchError, match=r'results.json: category "c2" has the id 1, in .*truth.json 2 \(and 1'
    ):
        instance_scores(truth, {"annotations": results, "categories": categories})
    images = [{"id": 4, "file_name": "val\\\\3.png"}]
    with pytest.raises(SegbenchError, match=r'results.json: image "3" has the id 4, in .*truth.json 3'):
        instance_scores(truth, {"annotations": results, "images": images})
    assert not caplog.messages
    instance_scores(truth, {"annotations": results, "categories": [{"id": 1, "name": "person"}]})
    assert "names differ from those of" in caplog.text and "category id 1 is c1 and person" in caplog.text


def test_tide_sees_what_is_scored(pair, tmp_path):
    truth, results = pair
    expected = tide(tmp_path, truth, results)
    for annotation in truth["annotations"]:
        annotation["iscrowd"] = annotation["iscrowd"] or None
    own = {"annotations": [{**r, "area": 3, "id": 7, "bbox": None} for r in results]}
    assert tide(tmp_path, truth, own) == expected
    assert tide(tmp_path, truth, own, boxes=True)["ap50"] > 0


def tide(folder, truth, results, boxes=False):
    paths = []
    for name, value in (("truth", truth), ("results", results)):
        paths.append(folder / f"{name}.json")
        paths[-1].write_text(json.dumps(value))
    return score_instance(*paths, folder / "x.parquet", boxes=boxes).tide(100)


SKY, CAR = {"id": 1, "name": "sky", "isthing": 0}, {"id": 2, "name": "car", "isthing": 1}
IDS = np.repeat([1, 2], 10)[None]
SEGMENTS = [{"id": 1, "category_id": 1}, {"id": 2, "category_id": 2}]


@pytest.mark.parametrize("side", ["truth", "guess"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": "1"}, 'annotation 1: image_id is "1", not a whole number'),
        ({"file_name": None}, "has no file_name"),
        ({"segments_info": None}, "image 1: segments_info are null, not a list"),
        (
            {"segments_info": [{"id": "1", "category_id": 1}]},
            'image 1: segment 1: id is "1", not a whole number',
        ),
        ({"segments_info": [{"id": 1, "category_id": "1"}]}, 'image 1: segment 1: category_id is "1"'),
        ({"segments_info": [{"id": 1, "category_id": 1, "iscrowd": "0"}]}, 'segment 1: iscrowd is "0"'),
    ],
)
def test_panoptic_faults_name_their_side(panoptic_files, panoptic_scores, side, change, message):
    files = {name: panoptic_files(name, {1: (IDS, SEGMENTS)}, [SKY, CAR]) for name in ("truth", "guess")}
    content = json.loads(files[side][0].read_text())
    content["annotations"][0].update(change)
    files[side][0].write_text(json.dumps(content))
    with pytest.raises(SegbenchError, match=rf"{side}.json: (.|\n)*{message}") as caught:
        panoptic_scores(files["truth"], files["guess"])
    assert caught.value.where == files[side][0] and caught.value.remedy


@pytest.mark.parametrize("infos", [SEGMENTS[:1], [*SEGMENTS, {"id": 3, "category_id": 2}]])
def test_panoptic_predictions_list_what_their_map_holds(panoptic_files, panoptic_scores, infos):
    truth = panoptic_files("truth", {1: (IDS, SEGMENTS)}, [SKY, CAR])
    guess = panoptic_files("guess", {1: (IDS, infos)}, [SKY, CAR])
    with pytest.raises(SegbenchError) as caught:
        panoptic_scores(truth, guess)
    assert caught.value.where == guess[0] and caught.value.remedy


@pytest.mark.parametrize("side", ["truth", "guess"])
@pytest.mark.parametrize("damage", ["missing", "grey", "text"])
def test_panoptic_maps_name_their_side(panoptic_files, panoptic_scores, side, damage):
    files = {name: panoptic_files(name, {1: (IDS, SEGMENTS)}, [SKY, CAR]) for name in ("truth", "guess")}
    path = files[side][1] / "1.png"
    if damage == "missing":
        path.unlink()
    elif damage == "text":
        path.write_text("x")
    else:
        Image.fromarray(np.zeros((1, 20), np.uint8)).save(path)
    with pytest.raises(SegbenchError) as caught:
        panoptic_scores(files["truth"], files["guess"])
    assert caught.value.where in (path, files[side][0])


def test_null_of_panoptic_segments_is_absent(panoptic_files, panoptic_scores):
    truth = panoptic_files("truth", {1: (IDS, SEGMENTS)}, [SKY, CAR])
    nulls = [{**s, "iscrowd": None, "area": None, "bbox": None, "score": None} for s in SEGMENTS]
    files = panoptic_files("guess", {1: (np.roll(IDS, 3), nulls)}, [SKY, CAR])
    scores = panoptic_scores(files, files)
    assert scores["pq"] == 1.0
    assert panoptic_scores(truth, files)["pq"] == pytest.approx(7 / 13)


def test_panoptic_lists_that_mean_other_things(panoptic_files, panoptic_scores):
    truth = panoptic_files("truth", {1: (IDS, SEGMENTS)}, [SKY, CAR])
    swapped = [{**SKY, "id": 2}, {**CAR, "id": 1}]
    guess = panoptic_files("guess", {1: (IDS, SEGMENTS)}, swapped)
    with pytest.raises(SegbenchError, match=r'guess.json: category "sky" has the id 2, in .*truth.json 1'):
        panoptic_scores(truth, guess)
    twice = panoptic_files("twice", {1: (IDS, SEGMENTS)}, [SKY, {**CAR, "id": 1}])
    with pytest.raises(SegbenchError, match='twice.json: category id 1 is listed twice: "sky" and "car"'):
        panoptic_scores(twice, truth)
    content = json.loads(truth[0].read_text())
    content["images"] *= 2
    content["images"][1] = content["images"][0] | {"file_name": "other.jpg"}
    truth[0].write_text(json.dumps(content))
    with pytest.raises(
        SegbenchError, match='truth.json: image id 1 is listed twice: "1.jpg" and "other.jpg"'
    ):
        panoptic_scores(truth, guess)


def test_panoptic_void_all_over(panoptic_files, panoptic_scores, tmp_path):
    files = [panoptic_files(n, {1: (IDS * 0, [])}, [SKY, CAR]) for n in ("truth", "guess")]
    scores = panoptic_scores(*files)
    assert all(np.isnan(s.value) for s in scores.all)
    arguments = ["panoptic", "--truth", files[0][0], "--predictions", files[1][0], "--json", tmp_path / "s"]
    found = CliRunner().invoke(app, [*map(str, arguments)])
    assert not found.exception
    assert {s["value"] for s in json.loads((tmp_path / "s").read_text())["scores"]} == {None}


def test_instances_without_truth_and_results(pair, instance_scores):
    truth, _ = pair
    scores = instance_scores(truth | {"annotations": []}, [])
    assert np.isnan(scores["ap"]) and np.isnan(scores["ece"])


def test_sizes_are_the_truths_to_give(pair, instance_scores):
    """Also of an image that only the results have objects in."""
    truth, results = pair
    truth["annotations"] = [a for a in truth["annotations"] if a["image_id"] != 3]
    del truth["images"][0]["height"]
    with pytest.raises(SegbenchError, match="truth.json: image 3 has no height and width"):
        instance_scores(truth, results)
    assert instance_scores(truth, results, boxes=True)["box_ap"] > 0
    del results[0]["bbox"]
    results[0]["segmentation"] = [[1, 1, 9, 1, 9, 9]]
    with pytest.raises(SegbenchError, match="results.json: image 3: no bbox, and no height and width in"):
        instance_scores(truth, results, boxes=True)
