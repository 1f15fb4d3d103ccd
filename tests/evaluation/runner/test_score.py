from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from segbench.errors import SegbenchError
from segbench.evaluation.runner.score import app


def score(*arguments):
    """Output of `segbench score`; errors are raised as they are."""
    found = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "140"})
    if found.exception:
        raise found.exception
    return found.stdout


@pytest.fixture
def maps(tmp_path):
    """Two folders of three 8 x 10 maps of two classes; a fifth of the pixels of the first is wrong."""
    rng = np.random.default_rng(0)
    for folder in ("truth", "predicted"):
        (tmp_path / folder).mkdir()
    for name in "abc":
        true = rng.integers(0, 2, (8, 10)).astype(np.uint8)
        guess = true.copy()
        if name == "a":
            guess[:, :2] = 1 - guess[:, :2]
        Image.fromarray(true).save(tmp_path / f"truth/{name}.png")
        Image.fromarray(guess).save(tmp_path / f"predicted/{name}.png")
    return tmp_path


def semantic(folder, *more):
    return score(
        "semantic", "--truth", folder / "truth", "--predictions", folder / "predicted", "--classes", 2, *more
    )


def test_centrelines(tmp_path):
    """A line of 9 pixels, of which 6 are found, and a false branch of one: 2 x 6/7 x 6/9 / (6/7 + 6/9)."""
    truth, guess = np.zeros((5, 9), np.uint8), np.zeros((5, 9), np.uint8)
    truth[2], guess[2, :6], guess[0, 0] = 255, 255, 255
    for name, values in (("truth", truth), ("predicted", guess)):
        (tmp_path / name).mkdir()
        Image.fromarray(values).save(tmp_path / name / "a.png")
    out = tmp_path / "scores.json"
    folders = ("--truth", tmp_path / "truth", "--predictions", tmp_path / "predicted", "--binary")
    assert "cldice" not in score("semantic", *folders)
    shown = score("semantic", *folders, "--cldice", "--json", out)
    scores = {(s["metric"], s["class"]): s["value"] for s in json.loads(out.read_text())["scores"]}
    assert scores["cldice", ""] == scores["cldice", "foreground"] == pytest.approx(0.75)
    assert "cldice" in shown and "0.7500" in shown


def test_semantic(maps):
    (maps / "names.txt").write_text("background\nvessel\n")
    out, per_image = maps / "scores.json", maps / "per_image.parquet"
    shown = score(
        *("semantic", "--truth", maps / "truth", "--predictions", maps / "predicted"),
        *("--classes", maps / "names.txt", "--json", out, "--per-image", per_image),
    )
    document = json.loads(out.read_text())
    scores = {(s["metric"], s["class"]): s["value"] for s in document["scores"]}
    assert scores["pixel_accuracy", ""] == pytest.approx(1 - 16 / 240)
    assert scores["dice_no_background", ""] == scores["dice", "vessel"]
    assert np.sum(document["confusion"]["pixels"]) == 240
    assert f"{scores['miou', '']:.4f}" in shown and "vessel" in shown and "3 images" in shown
    assert set(pd.read_parquet(per_image)["image"]) == {"a", "b", "c"}


def test_mask_restricts_to_its_non_zero_pixels(maps):
    (maps / "mask").mkdir()
    inside = np.zeros((8, 10), np.uint8)
    inside[:, 2:] = 255
    for name in "abc":
        Image.fromarray(inside).save(maps / f"mask/{name}.gif")
    semantic(maps, "--mask", maps / "mask", "--json", maps / "scores.json")
    document = json.loads((maps / "scores.json").read_text())
    assert np.sum(document["confusion"]["pixels"]) == 192
    assert next(s["value"] for s in document["scores"] if s["metric"] == "miou") == 1.0
    (maps / "mask/b.gif").unlink()
    with pytest.raises(SegbenchError, match="mask: has nothing for image b"):
        semantic(maps, "--mask", maps / "mask")


def test_missing_maps_are_empty_only_on_request(maps):
    (maps / "predicted/a.png").unlink()
    (maps / "predicted/c.png").unlink()
    with pytest.raises(
        SegbenchError, match=r"predicted: has nothing for image a \(and 1 more\)\n.*--missing-as-empty"
    ):
        semantic(maps)
    semantic(maps, "--missing-as-empty", "--json", maps / "scores.json")
    scores = {
        s["metric"]: s["value"]
        for s in json.loads((maps / "scores.json").read_text())["scores"]
        if not s["class"]
    }
    assert scores["pixel_accuracy"] == pytest.approx(1 / 3) and scores["precision"] == 1.0


def test_maps_of_unknown_images(maps):
    Image.fromarray(np.zeros((8, 10), np.uint8)).save(maps / "predicted/d.png")
    with pytest.raises(SegbenchError, match="predicted: image d is not in the truth"):
        semantic(maps)


def test_sizes_that_differ(maps):
    Image.fromarray(np.zeros((8, 12), np.uint8)).save(maps / "predicted/b.png")
    with pytest.raises(
        SegbenchError, match=r"predicted/b.png: is 12x8 \(width x height\), its truth 10x8\n.*resize"
    ):
        semantic(maps)


def test_float_and_colour_maps(maps):
    (maps / "predicted/b.png").unlink()
    values = np.zeros((8, 10), np.float32)
    for wrong in (0.5, np.nan, np.inf):
        values[2, 3] = wrong
        Image.fromarray(values).save(maps / "predicted/b.tif")
        with pytest.raises(
            SegbenchError,
            match=rf"b.tif: is not a label map: it holds {wrong:g} at row 2, column 3\n.*one channel",
        ):
            semantic(maps)
    (maps / "predicted/b.tif").unlink()
    values = np.zeros((8, 10, 3), np.uint8)
    values[2, 3] = 0, 1, 1
    Image.fromarray(values).save(maps / "predicted/b.png")
    with pytest.raises(
        SegbenchError,
        match=r"b.png: is not a label map: shape \(8, 10, 3\), the channels differ\n.*turn colours",
    ):
        semantic(maps)
    values = np.full((8, 10, 2), 255, np.uint8)
    values[2, 3] = 0
    Image.fromarray(values, "LA").save(maps / "predicted/b.png")
    with pytest.raises(SegbenchError, match=r"b.png: is not a label map: .*, some pixels are transparent"):
        semantic(maps)


@pytest.mark.parametrize("form", ["RGB", "RGBA", "LA", "F", "I", "1"])
def test_other_forms_of_the_same_numbers(maps, form):
    semantic(maps, "--json", maps / "expected.json")
    for path in [*maps.glob("truth/*.png"), *maps.glob("predicted/*.png")]:
        values = np.asarray(Image.open(path))
        suffix = ".tif" if form in "FI" else ".png"
        path.unlink()
        made = Image.fromarray(values.astype(bool)) if form == "1" else Image.fromarray(values).convert(form)
        made.save(path.with_suffix(suffix))
    semantic(maps, "--json", maps / "scores.json")
    assert (maps / "scores.json").read_text() == (maps / "expected.json").read_text()


def test_classes_outside_the_list(maps):
    Image.fromarray(np.full((8, 10), 2, np.uint8)).save(maps / "predicted/b.png")
    with pytest.raises(
        SegbenchError, match="predicted/b.png: value 2 at row 0, column 0 is not in the class list"
    ):
        semantic(maps)


def test_ignore(maps):
    Image.fromarray(np.full((8, 10), 7, np.uint8)).save(maps / "truth/a.png")
    semantic(maps, "--ignore", 7, "--json", maps / "scores.json")
    assert np.sum(json.loads((maps / "scores.json").read_text())["confusion"]["pixels"]) == 160
    with pytest.raises(SegbenchError, match="truth/a.png: value 7"):
        semantic(maps, "--ignore", -1)


@pytest.mark.parametrize("classes", ["0", "nowhere.txt"])
def test_no_class_list(maps, classes):
    with pytest.raises(
        SegbenchError, match=f"--classes: '{classes}' is neither a number nor a readable file"
    ):
        score(
            "semantic", "--truth", maps / "truth", "--predictions", maps / "predicted", "--classes", classes
        )


@pytest.fixture
def coco(tmp_path, random_coco):
    truth, results = random_coco(0)

    def write():
        (tmp_path / "truth.json").write_text(json.dumps(truth))
        (tmp_path / "results.json").write_text(json.dumps(results))
        return ("instance", "--truth", tmp_path / "truth.json", "--predictions", tmp_path / "results.json")

    return truth, results, write


def test_instance(coco, tmp_path):
    _, _, write = coco
    shown = score(*write(), "--json", tmp_path / "s.json", "--per-image", tmp_path / "s.parquet")
    document = json.loads((tmp_path / "s.json").read_text())
    scores = {(s["metric"], s["class"]): s for s in document["scores"]}
    assert f"{scores['ap', '']['value']:.4f}" in shown and "IoU >= 0.50:0.05:0.95, at most 100" in shown
    assert document["tide"]["ap50"] == pytest.approx(scores["ap50", ""]["value"])
    shown = score(*write(), "--boxes", "--max-detections", "1,5,20", "--json", tmp_path / "s.json")
    scores = {
        s["metric"]: s for s in json.loads((tmp_path / "s.json").read_text())["scores"] if not s["class"]
    }
    assert scores["box_ar5"]["max_detections"] == 5 and scores["box_ap"]["max_detections"] == 20
    assert "ap" not in scores


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 99}, "results.json: objects of image 99, which the truth does not list"),
        ({"category_id": 77}, "results.json: image 3: category 77 is not in the class list\n.*1, 2, 3, 4"),
        (
            {"segmentation": None},
            r"results.json: 1 of \d+ objects have no outline, first result 1 of image 3 .*null",
        ),
        ({"segmentation": "text"}, "results.json: image 3: a segmentation is neither polygons nor RLE"),
        ({"segmentation": {"size": [9, 9], "counts": "0a2"}}, r"image 3: a mask is 9x9 .*its image 150x130"),
        (
            {"segmentation": {"size": [130, 150], "counts": "d1"}},
            "a mask's run lengths do not add up to its size",
        ),
        ({"segmentation": {"size": [130, 150], "counts": ""}}, "a mask's run lengths do not add up"),
        ({"segmentation": {"size": [130, 150], "counts": None}}, "neither polygons nor RLE"),
        ({"score": float("nan")}, "results.json: result 1: score is NaN, not a finite number"),
        ({"score": "0.9"}, r'results.json: result 1: score is "0.9", not a finite number\n.*without quotes'),
        ({"score": None}, r"results.json: result 1 has no score\n.*give each result its score"),
        ({"image_id": "3"}, 'results.json: result 1: image_id is "3", not a whole number'),
        ({"category_id": "2"}, 'results.json: result 1: category_id is "2", not a whole number'),
        ({"category_id": True}, "results.json: result 1: category_id is true, not a whole number"),
        ({"bbox": [1, 2, "3", 4]}, r'results.json: image 3: a bbox has "3", not a finite number'),
        ({"bbox": [1, 2, -3, 4]}, "results.json: image 3: a bbox has a negative width or height"),
        ({"bbox": [1, 2, 3]}, "results.json: image 3: a bbox is not a list of four numbers"),
    ],
)
def test_results_that_are_wrong(coco, change, message):
    _, results, write = coco
    results[0].update({"image_id": 3} | change)
    with pytest.raises(SegbenchError, match=message):
        score(*write())


def test_results_without_masks(coco):
    _, results, write = coco
    for result in results:
        del result["segmentation"]
    with pytest.raises(SegbenchError, match=r"have no outline, first .*\n.*--boxes"):
        score(*write())
    assert "box_ap" in score(*write(), "--boxes")


def test_files_of_another_kind(coco, tmp_path):
    _, _, write = coco
    _, _, truth, _, results = write()
    with pytest.raises(SegbenchError, match=r"truth.json: result 1 has no score \(and"):
        score("instance", "--truth", truth, "--predictions", truth)
    with pytest.raises(SegbenchError, match="results.json: is not a file of COCO annotations"):
        score("instance", "--truth", results, "--predictions", results)
    with pytest.raises(SegbenchError, match="--max-detections: '10,x' is not a list"):
        score(*write(), "--max-detections", "10,x")
    with pytest.raises(SegbenchError, match="nowhere: is not a folder"):
        score("semantic", "--truth", tmp_path / "nowhere", "--predictions", tmp_path, "--classes", 2)


def test_panoptic(panoptic_files, tmp_path):
    categories = [{"id": 1, "name": "sky", "isthing": 0}, {"id": 2, "name": "car", "isthing": 1}]
    ids = np.repeat([1, 2], 10)[None]
    info = [{"id": 1, "category_id": 1}, {"id": 2, "category_id": 2}]
    truth = panoptic_files("truth", {1: (ids, info), 2: (ids, info)}, categories)
    guess = panoptic_files("guess", {1: (ids, info), 2: (np.roll(ids, 3), info)}, categories)
    arguments = ("panoptic", "--truth", truth[0], "--predictions", guess[0], "--json", tmp_path / "s.json")
    assert "pq_things" in score(*arguments)
    explicit = score(*arguments, "--truth-dir", truth[1], "--predictions-dir", guess[1])
    scores = {
        s["metric"]: s["value"]
        for s in json.loads((tmp_path / "s.json").read_text())["scores"]
        if not s["class"]
    }
    assert f"{scores['pq']:.4f}" in explicit
    assert scores["pq"] == pytest.approx((1 + 7 / 13) / 2)
    with pytest.raises(SegbenchError, match="No such file|does not exist"):
        score(*arguments, "--predictions-dir", tmp_path / "nowhere")


def test_several_processes_see_the_same(maps, monkeypatch):
    semantic(maps, "--json", maps / "one.json")
    monkeypatch.setattr("segbench.evaluation.runner.workers._FEW", 1)
    monkeypatch.setattr("segbench.evaluation.runner.workers._CHUNK", 1)
    semantic(maps, "--json", maps / "two.json", "--threads", 2)
    assert (maps / "one.json").read_text() == (maps / "two.json").read_text()
