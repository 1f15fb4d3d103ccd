from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_networks import make_spec

from segbench.contract.prediction import Instances, Panoptic, Prediction
from segbench.contract.view import BACKGROUND, Category, View
from segbench.data.coco.masks import encode
from segbench.errors import SegbenchError
from segbench.prediction.runner import overlay as painting
from segbench.prediction.runner.media import predict_files

RED = Category(id=1, name="red", isthing=True, color=(200, 0, 0))
VIEW = View("semantic", (BACKGROUND, RED))
IMAGE = np.full((4, 6, 3), 100, np.uint8)


def overlay(image: np.ndarray, found: Prediction, view: View) -> np.ndarray:
    return painting.overlay(image, found, view, 0.5)


def painted(image: np.ndarray) -> np.ndarray:
    return (image != 100).any(-1)


def test_overlay_paints_the_colours_of_the_classes() -> None:
    semantic = torch.zeros(4, 6, dtype=torch.int64)
    semantic[1, 2] = 1
    found = overlay(IMAGE, Prediction(semantic), VIEW)
    assert found[1, 2].tolist() == [158, 42, 42]
    assert (painted(found) == semantic.numpy()).all()


def test_overlay_paints_segments_and_certain_objects() -> None:
    view = View("panoptic", (RED,))
    mask = torch.zeros(2, 4, 6, dtype=torch.bool)
    mask[0, 0], mask[1, 2] = True, True
    objects = Instances(torch.tensor([0.9, 0.1]), torch.tensor([0, 0]), mask)
    found = overlay(IMAGE, Prediction(instances=objects), view)
    assert (painted(found) == mask[0].numpy()).all()
    objects.masks = [encode(one.numpy()) for one in mask]  # as tiles give them
    assert (painted(overlay(IMAGE, Prediction(instances=objects), view)) == mask[0].numpy()).all()
    segments = Panoptic(mask[0] * 1 + mask[1] * 2, torch.tensor([0, 0]), torch.ones(2))
    found = overlay(IMAGE, Prediction(instances=objects, panoptic=segments), view)
    assert (painted(found) == mask.any(0).numpy()).all()


def test_overlay_fills_and_frames_objects_that_are_boxes_only() -> None:
    boxes = torch.tensor([[1.0, -1, 4, 3], [0, 0, 6, 4]])
    objects = Instances(torch.tensor([0.9, 0.1]), torch.tensor([0, 0]), None, boxes)
    found = overlay(IMAGE, Prediction(instances=objects), View("instance", (RED,)))
    inside = np.zeros((4, 6), bool)
    inside[:3, 1:4] = True
    assert (painted(found) == inside).all()
    assert found[1, 2].tolist() == [158, 42, 42] and found[0, 1].tolist() == [235, 165, 165]


@pytest.fixture
def model(run, tmp_path: Path) -> Path:
    run("cell", make_spec())
    return tmp_path / "cell" / "model.pt"


def write_video(path: Path, frames: int) -> None:
    with av.open(path, "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 50, 34, "yuv420p"
        for i in range(frames):
            pixels = np.full((34, 50, 3), 20 * i, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())


def test_images_folders_and_videos(model: Path, shapes: Path, tmp_path: Path) -> None:
    Image.new("L", (31, 23)).save(tmp_path / "grey.jpg")
    write_video(tmp_path / "clip.mp4", 7)
    out = tmp_path / "out"
    predict_files(model, [tmp_path / "grey.jpg", shapes / "test" / "images", tmp_path / "clip.mp4"], out)
    assert sorted(p.name for p in out.iterdir()) == [
        "00.png",
        "01.png",
        "02.png",
        "03.png",
        "04.png",
        "clip.mp4",
        "grey.png",
    ]
    assert Image.open(out / "grey.png").size == (31, 23)
    with av.open(out / "clip.mp4") as file:
        frames = list(file.decode(video=0))
    assert len(frames) == 7 and (frames[0].width, frames[0].height) == (50, 34)


def test_what_cannot_be_read_is_named(model: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no video")
    out = tmp_path / "out"
    with pytest.raises(SegbenchError, match=r"notes\.txt: is neither an image nor a video"):
        predict_files(model, [tmp_path / "notes.txt"], out)
    with pytest.raises(SegbenchError, match=r"nothing\.png: does not exist"):
        predict_files(model, [tmp_path / "nothing.png"], out)
    assert not out.exists() or not list(out.iterdir())


def test_outputs_replace_neither_each_other_nor_an_input(model: Path, tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    with pytest.raises(SegbenchError, match=r"a\.jpg: would be written to .*a\.png, as .*a\.png would"):
        predict_files(model, [tmp_path / "a.png", tmp_path / "a.jpg"], tmp_path / "out")
    with pytest.raises(SegbenchError, match=r"a\.jpg: would replace the input .*a\.png"):
        predict_files(model, [tmp_path / "a.jpg", tmp_path / "a.png"], tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_answered_upright(model: Path, tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (31, 23)).save(tmp_path / "photo.jpg", exif=exif)
    predict_files(model, [tmp_path / "photo.jpg"], tmp_path / "out")
    with Image.open(tmp_path / "out" / "photo.png") as found:
        assert found.size == ((31, 23) if orientation < 5 else (23, 31))
        assert not found.getexif()


def test_folders_of_images_and_videos_without_junk(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "@eaDir").mkdir(parents=True)
    (folder / "sub.png").mkdir()
    for name in ("._a.png", ".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt", "@eaDir/b.png"):
        (folder / name).write_text("no image")
    Image.new("L", (16, 16)).save(folder / "a.PNG")
    write_video(folder / "clip.MOV", 2)
    predict_files(model, [folder], tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "clip.mp4"]
    (folder / "a.PNG").unlink()
    (folder / "clip.MOV").unlink()
    message = r"in: contains no image and no video .*\n  remedy: name a folder"
    with pytest.raises(SegbenchError, match=message):
        predict_files(model, [folder], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_overlay_paints_classes_that_overlap_over_each_other() -> None:
    blue = Category(id=2, name="blue", isthing=False, color=(0, 0, 200))
    semantic = torch.zeros(16, 16, dtype=torch.int64)
    semantic[:8], semantic[8:] = 1, 3
    view = View("semantic", (RED, blue), overlapping=True)
    found = overlay(np.full((16, 16, 3), 100, np.uint8), Prediction(semantic), view)
    assert found[4, 4].tolist() == [158, 42, 42]
    assert found[12, 8].tolist() == [66, 17, 133]  # 42 % of the red one, and 58 % of blue
    assert found[8, 8].tolist() == [165, 165, 235]  # the outline of blue
