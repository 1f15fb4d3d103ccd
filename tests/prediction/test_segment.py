"""Files that `segbench segment` writes."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from skimage.measure import regionprops
from test_media import write_video
from tiny_networks import make_spec

from segbench.data.dataset import rgb_to_id
from segbench.errors import SegbenchError
from segbench.prediction.runner import media
from segbench.prediction.runner.media import predict_files
from segbench.prediction.runner.predict import predict

ALL = ["masks", "coco", "panoptic", "csv"]


@pytest.fixture
def model(run, tmp_path: Path) -> Path:
    """Answers panoptic segments, objects and a map of labels."""
    run("cell", make_spec("Everything", task="panoptic", precision="fp32"))
    return tmp_path / "cell" / "model.pt"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_the_files_say_the_same_as_the_predictions_of_the_cell(
    model: Path, shapes: Path, tmp_path: Path
) -> None:
    own, out = tmp_path / "cell" / "predictions", tmp_path / "out"
    predict(shapes, model, own, threads=1)
    predict_files(model, [shapes / "test" / "images"], out, products=ALL)
    for part, folder in (("semantic", "masks"), ("panoptic", "panoptic")):
        for path in sorted((own / part).iterdir()):
            assert np.array_equal(
                np.asarray(Image.open(path)), np.asarray(Image.open(out / folder / path.name))
            )
    classes = json.loads((out / "masks" / "classes.json").read_text())["classes"]
    assert [(c["id"], c["name"]) for c in classes] == [(1, "sky"), (2, "ground"), (3, "box"), (4, "disc")]

    theirs, ours = (
        json.loads(p.read_text()) for p in (own / "instances.json", out / "coco" / "results.json")
    )
    assert [{**one, "area": 0} for one in ours] == [{**one, "area": 0} for one in theirs]
    truth = COCO(out / "coco" / "images.json")
    assert len(truth.loadRes(str(out / "coco" / "results.json")).anns) == len(ours)
    assert [truth.imgs[i]["file_name"] for i in sorted(truth.imgs)] == [f"{i:02}.png" for i in range(5)]

    whole = json.loads((out / "panoptic.json").read_text())
    expected = json.loads((own / "panoptic.json").read_text())
    assert [a["segments_info"] for a in whole["annotations"]] == [
        a["segments_info"] for a in expected["annotations"]
    ]
    assert {c["id"] for c in whole["categories"]} == {1, 2, 3, 4}

    found = rows(out / "objects.csv")
    things = [s for a in whole["annotations"] for s in a["segments_info"] if s["category_id"] > 2]
    assert [int(row["area"]) for row in found] == [s["area"] for s in things] and found
    ids = rgb_to_id(np.asarray(Image.open(out / "panoptic" / "00.png")))
    by_id = {region.label: region for region in regionprops(ids.astype(int))}
    first = [s for s in whole["annotations"][0]["segments_info"] if s["category_id"] > 2]
    assert first
    for row, segment in zip(found, first):
        assert row["file"] == "00.png" and row["class"] in ("box", "disc") and row["score"] == "1.0000"
        length = by_id[segment["id"]].axis_major_length
        assert float(row["length"]) == pytest.approx((length**2 + 16 / 12) ** 0.5, abs=0.06)
    counts = rows(out / "counts.csv")
    assert len(counts) == 5 * 4
    assert sum(int(row["area"]) for row in counts if row["file"] == "00.png") == ids.size
    assert sum(int(row["objects"] or 0) for row in counts) == len(found)


def test_batches_change_nothing(model: Path, shapes: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", 5)
    for size in (1, 4):
        inputs = [shapes / "test" / "images", tmp_path / "clip.mp4"]
        predict_files(model, inputs, tmp_path / f"{size}", products=[*ALL, "paint"], batch_size=size)
    one, four = tmp_path / "1", tmp_path / "4"
    assert files(one) == files(four)
    for name in files(one):
        assert (one / name).read_bytes() == (four / name).read_bytes(), name


def test_frames_of_a_video(model: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", 3)
    predict_files(model, [tmp_path / "clip.mp4"], tmp_path / "out", products=ALL)
    frames = [f"{i:06}.png" for i in range(3)]
    for folder in ("masks", "panoptic"):
        assert sorted(p.name for p in (tmp_path / "out" / folder / "clip").iterdir()) == frames
    images = json.loads((tmp_path / "out" / "coco" / "images.json").read_text())["images"]
    assert [(i["file_name"], i["video"], i["frame"], i["time"]) for i in images] == [
        (f"clip/{name}", "clip.mp4", k, k / 10) for k, name in enumerate(frames)
    ]
    counts = rows(tmp_path / "out" / "counts.csv")
    assert [(r["frame"], r["time"]) for r in counts[::4]] == [("0", "0.000"), ("1", "0.100"), ("2", "0.200")]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_one_bad_input_loses_only_itself(
    model: Path, shapes: Path, tmp_path: Path, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = sorted((shapes / "test" / "images").iterdir())[:3]
    (tmp_path / "broken.png").write_bytes(images[0].read_bytes()[:60])
    write_video(tmp_path / "torn.mp4", 4)
    whole = media.read_video

    def torn(path: Path, channels: int) -> Iterator:
        frames = whole(path, channels)
        yield next(frames)
        yield next(frames)
        raise SegbenchError("is torn", where=path)

    monkeypatch.setattr(media, "read_video", torn)
    out = tmp_path / "out"
    inputs = [images[0], tmp_path / "broken.png", tmp_path / "torn.mp4", *images[1:]]
    with pytest.raises(SegbenchError, match=r"lacks 2 of 5 inputs, which failed: .*broken.png, .*torn.mp4"):
        predict_files(model, inputs, out, products=[*ALL, "paint"], batch_size=batch_size)
    names = {"00.png", "01.png", "02.png"}
    assert files(out) == {
        *names,
        *(f"{folder}/{name}" for folder in ("masks", "panoptic") for name in names),
        *("masks/classes.json", "coco/results.json", "coco/images.json", "panoptic.json"),
        *("objects.csv", "counts.csv"),
    }
    assert {row["file"] for row in rows(out / "counts.csv")} == names
    described = json.loads((out / "coco" / "images.json").read_text())["images"]
    assert {image["file_name"] for image in described} == names
    assert len({image["id"] for image in described}) == 3
    results = json.loads((out / "coco" / "results.json").read_text())
    assert {one["image_id"] for one in results} <= {image["id"] for image in described}


def test_an_image_that_the_network_cannot_predict_is_named(
    model: Path, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = sorted((shapes / "test" / "images").iterdir())[:2]
    Image.new("RGB", (3, 5)).save(tmp_path / "tiny.png")
    predicted = media.Predictor.__call__

    def refuse(self: media.Predictor, batch):
        if batch.shape[-1] == 3:
            raise RuntimeError("Kernel size can't be greater than actual input size")
        return predicted(self, batch)

    monkeypatch.setattr(media.Predictor, "__call__", refuse)
    with pytest.raises(SegbenchError, match=r"lacks 1 of 3 .*tiny.png \(cannot be predicted at 3 x 5 pixels"):
        predict_files(model, [images[0], tmp_path / "tiny.png", images[1]], tmp_path / "out")
    assert files(tmp_path / "out") == {"00.png", "01.png"}


def test_patterns_keep_the_folders_below_them(model: Path, tmp_path: Path) -> None:
    for name in ("in/a/1.png", "in/b/1.png", "in/b/2.txt", "in/.hidden/1.png", "in/c/d/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 16)).save(tmp_path / name, "PNG")
    out = tmp_path / "in" / "out"
    for _ in range(2):  # the second time, the results lie below the folder
        predict_files(model, [tmp_path / "in" / "**" / "*.png"], out, products=["masks", "paint"])
        assert {"a/1.png", "b/1.png", "c/d/3.png", "masks/a/1.png", "masks/c/d/3.png"} < files(out)
        assert len(files(out)) == 7
    with pytest.raises(SegbenchError, match=r"\*.jpg: matches no image and no video"):
        predict_files(model, [tmp_path / "in" / "*.jpg"], out)


def test_images_are_streamed(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any time, no more images are read and not written than a batch and the one after it."""
    waiting, largest = 0, 0
    read, write = media.read_upright, media._Run._write

    def reading(*arguments):
        nonlocal waiting, largest
        waiting += 1
        largest = max(largest, waiting)
        return read(*arguments)

    def writing(*arguments):
        nonlocal waiting
        waiting -= 1
        return write(*arguments)

    (tmp_path / "in").mkdir()
    for number in range(12):
        Image.new("RGB", (20, 16)).save(tmp_path / "in" / f"{number}.png")
    monkeypatch.setattr(media, "read_upright", reading)
    monkeypatch.setattr(media._Run, "_write", writing)
    predict_files(model, [tmp_path / "in"], tmp_path / "out", products=["csv"], batch_size=2)
    assert waiting == 0 and largest == 3


def test_classes_in_the_folders_of_results_are_not_replaced(model: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    Image.new("RGB", (20, 16)).save(tmp_path / "masks" / "a.png")
    with pytest.raises(SegbenchError, match="would replace the input .*masks/a.png"):
        predict_files(model, [tmp_path / "masks"], tmp_path, products=["masks"])
