"""Images of five channels of 16 bits, from arrays to predictions, galleries and painted images."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from PIL import Image

from segbench.contract.cell import CellSpec
from segbench.contract.report import ReportOptions
from segbench.contract.run import CellDescription, DatasetDescription, RunDescription
from segbench.contract.view import Category
from segbench.data.dataset import Converted, Dataset, Sample
from segbench.data.lint.dataset import lint_dataset
from segbench.data.writing.writer import write_dataset
from segbench.errors import SegbenchError
from segbench.models.saved import load_model
from segbench.prediction.runner.media import predict_files
from segbench.prediction.runner.predict import predict
from segbench.report.gallery import gallery
from segbench.training.runner.train import train

DISC = Category(id=1, name="disc", isthing=True, color=(220, 60, 60))
LOW, HIGH = np.array([0, 1000, 200, 30000, 5]), np.array([90, 4000, 210, 60000, 800])
"""Values of ground and discs by channel."""
NETWORKS: dict[str, dict[str, Any]] = {
    "unet": {
        "class_path": "segbench.models.unet:UNet",
        "options": {"widths": [4, 8]},
        "task": "semantic",
    },
    "mask_rcnn": {
        "class_path": "segbench.models.mask_rcnn:MaskRCNN",
        "options": {
            "backbone": "test_resnet",
            "fpn_channels": 16,
            "box_channels": 16,
            "mask_channels": 8,
            "anchor_sizes": [8, 16, 32, 64, 128],
        },
        "task": "instance",
    },
}


def bands(split: str, number: int) -> Sample:
    random = np.random.default_rng([number, len(split)])
    y, x = np.mgrid[:48, :64]
    centres = random.uniform(10, 38, (2, 2)) + np.array([[0, 0], [0, 20]])
    masks = [(y - cy) ** 2 + (x - cx) ** 2 <= 64 for cy, cx in centres]
    share = np.any(masks, axis=0)[:, :, None] * 0.8 + random.uniform(0, 0.2, (48, 64, 5))
    image = (LOW + share * (HIGH - LOW)).astype(np.uint16)
    objects = [{"category_id": 1, "segmentation": mask, "iscrowd": 0} for mask in masks]
    return Sample(split, f"{number:02}", image, instances=objects)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bands") / "bands"
    samples = [bands(split, n) for split, count in (("train", 4), ("test", 3)) for n in range(count)]
    write_dataset(
        Converted([DISC], True, "test", samples, orientation="stored"),
        root,
        name="bands",
        title="Bands",
        licence="",
        citation="",
        archives={},
        channels=5,
    )
    return root


def test_lint_finds_no_error(dataset: Path) -> None:
    assert lint_dataset(dataset).errors == []


@pytest.mark.parametrize("network", NETWORKS)
def test_from_training_to_painted_images(network: str, dataset: Path, tmp_path: Path) -> None:
    augment = {"crop": [32, 48], "scale": [0.8, 1.25], "rotate90": True, "color_jitter": 0.2}
    recipe = {"iterations": 2, "batch_size": 2, "augment": augment, "precision": "fp32"}
    spec = CellSpec.model_validate({**NETWORKS[network], "seed": 0, "recipe": recipe})
    cell = tmp_path / "cells" / "bands" / network / "seed0"
    train(dataset, spec, cell, threads=1)
    predict(dataset, cell / "model.pt", cell / "predictions", threads=1)
    trained = load_model(cell / "model.pt", torch.device("cpu"))
    assert trained.network.in_channels == 5 and trained.levels == Dataset(dataset).info.levels

    run = RunDescription(
        name="r",
        cells=[CellDescription(dataset="bands", model=network, seed=0, task=spec.task)],
        datasets={"bands": DatasetDescription(root=dataset)},
        options=ReportOptions.model_validate({"gallery_channels": {"bands": [4, 2, 1]}}),
        root=tmp_path,
    )
    assert gallery(run, "bands", spec.task, [network], pd.DataFrame(), tmp_path)
    with Image.open(tmp_path / f"bands_{spec.task}_1.jpg") as drawn:
        tile = np.asarray(drawn)[40:200, 20:300].reshape(-1, 3)
    assert tile.min() < 60 and tile.max() > 200  # scaled by channel: all use their whole range

    split = Dataset(dataset).split("test")
    path = split.images[0].path
    predict_files(cell / "model.pt", [path], tmp_path / "out", show=[2])
    grey = np.asarray(Image.open(tmp_path / "out" / "00.png")).astype(int)
    assert grey.shape == (48, 64, 3)
    plain = (np.ptp(grey, axis=2) == 0) & (grey[..., 0] != 0)
    expected = (split.read_image(split.images[0])[:, :, 1] * 255).round()
    assert plain.any() or network == "unet"  # the U-Net may paint all pixels
    assert (grey[..., 0] == expected)[plain].all()


def test_segment_on_images_of_other_channels(dataset: Path, tmp_path: Path) -> None:
    recipe = {"iterations": 1, "batch_size": 1, "precision": "fp32"}
    spec = CellSpec.model_validate({**NETWORKS["unet"], "seed": 0, "recipe": recipe})
    train(dataset, spec, tmp_path / "cell", threads=1)
    model = tmp_path / "cell" / "model.pt"
    Image.new("RGB", (48, 40)).save(tmp_path / "photo.png")
    with pytest.raises(SegbenchError, match=r"photo\.png: has 3 channels; 5 are expected"):
        predict_files(model, [tmp_path / "photo.png"], tmp_path / "out")
    (tmp_path / "film.mp4").write_bytes(b"")
    with pytest.raises(SegbenchError, match=r"film\.mp4: is a video; the network was trained on images of 5"):
        predict_files(model, [tmp_path / "film.mp4"], tmp_path / "out")
    file = io.BytesIO()
    tifffile.imwrite(file, np.moveaxis(bands("test", 0).image, 2, 0), metadata={"axes": "CYX"})
    (tmp_path / "planar.tif").write_bytes(file.getvalue())
    predict_files(model, [tmp_path / "planar.tif"], tmp_path / "out")
    with pytest.raises(SegbenchError, match="channel 6 cannot be shown: images have 5"):
        predict_files(model, [tmp_path / "planar.tif"], tmp_path / "out", show=[6])
