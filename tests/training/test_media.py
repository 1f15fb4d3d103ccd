from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_networks import make_spec

from segbench.data.dataset import BACKGROUND, Category, View
from segbench.errors import SegbenchError
from segbench.models.network import Instances, Panoptic, Prediction
from segbench.training.media import overlay, predict_files

RED = Category(id=1, name="red", isthing=True, color=(200, 0, 0))
VIEW = View("semantic", (BACKGROUND, RED))
IMAGE = torch.full((3, 4, 6), 100, dtype=torch.uint8)


def test_overlay_paints_the_colours_of_the_classes() -> None:
    semantic = torch.zeros(4, 6, dtype=torch.int64)
    semantic[1, 2] = 1
    painted = overlay(IMAGE, Prediction(semantic), VIEW)
    assert painted[:, 1, 2].tolist() == [150, 50, 50]
    assert (painted[:, semantic == 0] == 100).all()


def test_overlay_paints_segments_and_certain_objects() -> None:
    view = View("panoptic", (RED,))
    mask = torch.zeros(2, 4, 6, dtype=torch.bool)
    mask[0, 0], mask[1, 2] = True, True
    objects = Instances(torch.tensor([0.9, 0.1]), torch.tensor([0, 0]), mask)
    painted = overlay(IMAGE, Prediction(instances=objects), view)
    assert ((painted != 100).any(0) == mask[0]).all()
    segments = Panoptic(mask[0] * 1 + mask[1] * 2, torch.tensor([0, 0]), torch.ones(2))
    painted = overlay(IMAGE, Prediction(instances=objects, panoptic=segments), view)
    assert ((painted != 100).any(0) == mask.any(0)).all()


def test_overlay_frames_objects_that_are_boxes_only() -> None:
    boxes = torch.tensor([[1.0, 1, 4, 3], [0, 0, 6, 4]])
    objects = Instances(torch.tensor([0.9, 0.1]), torch.tensor([0, 0]), None, boxes)
    painted = overlay(IMAGE, Prediction(instances=objects), View("instance", (RED,)))
    assert painted[:, 1, 1].tolist() == [200, 0, 0] and painted[:, 0, 0].tolist() == [100] * 3
    assert torch.equal(
        overlay(
            IMAGE,
            Prediction(instances=Instances(objects.scores[1:], objects.labels[1:], None, boxes[1:])),
            View("instance", (RED,)),
        ),
        IMAGE,
    )


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


def test_nothing_is_overwritten(model: Path, tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    with pytest.raises(SegbenchError, match=r"a\.jpg: would be written to .*a\.png, as .*a\.png was"):
        predict_files(model, [tmp_path / "a.png", tmp_path / "a.jpg"], tmp_path / "out")
