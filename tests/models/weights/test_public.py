"""Networks with public weights predict the same as the published network, in the dataset's classes."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNN, MaskRCNNPredictor
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.models.segmentation.fcn import _fcn_resnet

from segbench.contract.cell import CellSpec
from segbench.contract.recipe import Recipe
from segbench.contract.sources import WeightsEntry
from segbench.contract.view import Category
from segbench.data.converters.voc import CLASSES
from segbench.data.dataset import Converted, Dataset, Sample
from segbench.data.images import read_image, read_label_map
from segbench.data.sources.weights import fetch_weights
from segbench.data.writing.writer import write_dataset
from segbench.errors import SegbenchError
from segbench.models.saved import build_network, load_model
from segbench.models.weights.public import copy_public_weights, public_network
from segbench.prediction.runner.predict import predict
from segbench.training.runner.train import train

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
AS_IT_IS = Recipe(iterations=0, batch_size=1, weights="public", precision="fp32")
UNET = {
    "class_path": "segbench.models.unet:UNet",
    "options": {"widths": [4, 8]},
    "task": "semantic",
    "seed": 0,
}


def fetched(folder: Path, state: Any, **checkpoint: Any) -> Path:
    """A public file with `state`, as the fetch step leaves it."""
    folder.mkdir()
    torch.save(state, folder / "theirs.pth")
    url = (folder / "theirs.pth").as_uri()
    about = {"licence": "x", "citation": "y", "url": url, "checkpoint": checkpoint}
    fetch_weights(WeightsEntry.model_validate(about), folder / "public.safetensors")
    return folder / "public.safetensors"


def normalised(pixels: np.ndarray) -> torch.Tensor:
    """Convert H x W x 3 uint8 to 1 x 3 x H x W as torchvision's presets do."""
    mean, std = (torch.tensor(IMAGENET[key])[:, None, None] for key in ("mean", "std"))
    return ((torch.from_numpy(pixels).permute(2, 0, 1) / 255 - mean) / std)[None]


def resnet26(**options: Any) -> ResNet:
    return ResNet(Bottleneck, [2, 2, 2, 2], **options)


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise with VOC's classes, numbered from the last to the first."""
    categories = [
        Category(id=i, name=name, isthing=True, color=(i, i, i)) for i, name in enumerate(CLASSES[::-1], 1)
    ]

    def noise(split: str, stem: str) -> Sample:
        rng = np.random.default_rng(len(stem))
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (45, 67, 3), dtype=np.uint8)).save(file, "PNG")
        return Sample(split, stem, file.getvalue(), ".png", semantic=rng.integers(0, 21, (45, 67)))

    samples = [noise("train", "a"), noise("test", "bb"), noise("test", "ccc")]
    root = tmp_path_factory.mktemp("voc") / "voc"
    about = {"name": "voc", "title": "VOC", "licence": "x", "citation": "", "archives": {}, "channels": 3}
    write_dataset(Converted(categories, True, "test", samples, orientation="stored"), root, **about)
    return root


def test_fcn_of_torchvision_predicts_the_same_classes(voc: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    oracle = _fcn_resnet(resnet26(replace_stride_with_dilation=[False, True, True]), 21, aux=True)
    oracle(torch.randn(2, 3, 64, 96))  # statistics other than 0 and 1
    oracle.eval()
    class_path, names = "segbench.models.dilated:DilatedFCN", ["background", *CLASSES]
    loader = {"class": class_path, "load": "segbench.models.bases.dilated:load_torchvision"}
    weights = fetched(tmp_path / "weights", oracle.state_dict(), classes=names, **loader, **IMAGENET)
    options = {"backbone": "resnet26"}
    spec = CellSpec(class_path=class_path, options=options, task="semantic", seed=0, recipe=AS_IT_IS)
    cell = tmp_path / "cell"
    train(voc, spec, cell, weights=weights, threads=1)
    predict(voc, cell / "model.pt", cell / "predictions", threads=1)
    ids = np.array([0, *(20 - i for i in range(20))])  # of torchvision's classes in this dataset
    seen = set()
    for record in Dataset(voc).split("test"):
        with torch.inference_mode():
            logits = oracle(normalised(read_image(record.path, 3)))["out"][0]
        best, second = logits.topk(2, dim=0).values
        sure = (best - second > 1e-4).numpy()
        found = read_label_map(cell / "predictions" / "semantic" / f"{record.stem}.png")
        expected = ids[logits.argmax(0).numpy()]
        assert (found == expected)[sure].all() and sure.mean() > 0.99
        seen |= set(np.unique(expected))
    assert len(seen) > 3


def test_mask_rcnn_of_torchvision_finds_the_same_objects(shapes: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    oracle = MaskRCNN(
        _resnet_fpn_extractor(resnet26(), 5),
        box_head=TwoMLPHead(256 * 49, 64),
        box_predictor=FastRCNNPredictor(64, 4),
        mask_predictor=MaskRCNNPredictor(256, 256, 4),
        rpn_pre_nms_top_n_test=100,
        rpn_post_nms_top_n_test=100,
        box_detections_per_img=30,
    )
    oracle.backbone.train()(torch.randn(2, 3, 64, 64))
    for module in oracle.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0  # as torchvision sets it for COCO_V1
    oracle.eval()
    state = {k: v for k, v in oracle.state_dict().items() if not k.endswith("num_batches_tracked")}
    class_path, names = "segbench.models.mask_rcnn:MaskRCNN", ["disc", "N/A", "box"]
    loader = {"class": class_path, "load": "segbench.models.bases.rcnn:load_torchvision_coco_v1"}
    weights = fetched(tmp_path / "weights", state, classes=names, **loader, **IMAGENET)
    options = {
        "backbone": "resnet26",
        "frozen_norm": True,
        "box_channels": 64,
        "proposals_testing": 100,
        "detections_per_image": 30,
    }
    spec = CellSpec(class_path=class_path, options=options, task="instance", seed=0, recipe=AS_IT_IS)
    cell = tmp_path / "cell"
    train(shapes, spec, cell, weights=weights, threads=1)
    predict(shapes, cell / "model.pt", cell / "predictions", threads=1)
    predicted = json.loads((cell / "predictions" / "instances.json").read_text())
    ids = {1: 4, 3: 3}  # torchvision's label -> category of `shapes`; 2 is none of them
    dropped = 0
    for record in Dataset(shapes).split("test"):
        pixels = read_image(record.path, 3)
        oracle.transform.min_size, oracle.transform.max_size = (min(pixels.shape[:2]),), 1000
        with torch.inference_mode():
            (found,) = oracle([torch.from_numpy(pixels).permute(2, 0, 1) / 255])
        keep = found["labels"] != 2
        dropped += int((~keep).sum())
        ours = [p for p in predicted if p["image_id"] == record.id]
        assert [p["category_id"] for p in ours] == [ids[label] for label in found["labels"][keep].tolist()]
        boxes = found["boxes"][keep]
        boxes[:, 2:] -= boxes[:, :2]
        torch.testing.assert_close(torch.tensor([p["bbox"] for p in ours]), boxes, rtol=0, atol=1e-3)
        scores = torch.tensor([p["score"] for p in ours])
        torch.testing.assert_close(scores, found["scores"][keep], rtol=0, atol=1e-4)
    assert dropped and predicted


@pytest.fixture(scope="module")
def ours(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of this package as public weights."""
    folder = tmp_path_factory.mktemp("ours")
    train(shapes, CellSpec(**UNET, recipe=Recipe(iterations=1, batch_size=1)), folder / "cell", threads=1)
    state = torch.load(folder / "cell" / "model.pt", weights_only=True)
    return fetched(folder / "weights", state, **{"class": UNET["class_path"]})


def test_a_model_of_ours_is_the_same_after_no_training(shapes: Path, ours: Path, tmp_path: Path, run) -> None:
    told = run("again", CellSpec(**UNET, recipe=AS_IT_IS), weights=ours)
    first = json.loads((ours.parents[1] / "cell" / "training.json").read_text())
    assert told["weights_digest"] == first["weights_digest"]
    assert (told["iterations"], told["images"], told["seconds"]) == (0, 0, None)
    assert told["sources"]["weights"] and not (tmp_path / "again" / "history.csv").exists()
    assert (
        load_model(tmp_path / "again" / "model.pt", torch.device("cpu")).mean
        == load_model(ours.parents[1] / "cell" / "model.pt", torch.device("cpu")).mean
    )


def test_training_goes_on_from_public_weights(shapes: Path, ours: Path, run) -> None:
    more = AS_IT_IS.model_copy(update={"iterations": 1})
    told = run("more", CellSpec(**UNET, recipe=more), weights=ours)
    first = json.loads((ours.parents[1] / "cell" / "training.json").read_text())
    assert told["iterations"] == 1 and told["weights_digest"] != first["weights_digest"]


def test_layers_for_other_classes_begin_anew(
    shapes: Path, voc: Path, ours: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    spec = CellSpec(**UNET, recipe=AS_IT_IS)
    view = Dataset(voc).view("semantic")
    public, _ = public_network(spec, view, 3, ours)
    network = build_network(spec, view, 3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    copy_public_weights(network, public, spec)
    after, given = network.state_dict(), public.state_dict()
    unshared = {key for key, value in after.items() if value.shape != given[key].shape}
    assert len(unshared) == 2 and "2 of" in caplog.text
    for key, value in after.items():
        assert torch.equal(value, before[key] if key in unshared else given[key])
    same = build_network(spec, Dataset(shapes).view("semantic"), 3)
    copy_public_weights(same, public_network(spec, same.view, 3, ours)[0], spec)
    assert all(torch.equal(value, given[key]) for key, value in same.state_dict().items())


def test_classes_of_as_many_but_other_names_are_other_classes(shapes: Path, ours: Path) -> None:
    spec = CellSpec(**UNET, recipe=AS_IT_IS)
    view = Dataset(shapes).view("semantic")
    turned = type(view)(view.task, view.classes[::-1])
    public, _ = public_network(spec, turned, 3, ours)
    network = build_network(spec, turned, 3)
    head = [key for key, value in network.state_dict().items() if value.shape[:1] == (4,)][-1]
    before = network.state_dict()[head].clone()
    copy_public_weights(network, public, spec)
    assert torch.equal(network.state_dict()[head], before)
    assert not torch.equal(public.state_dict()[head], before)


def test_weights_that_do_not_suit_are_refused_with_the_reason(
    shapes: Path, voc: Path, ours: Path, tmp_path: Path
) -> None:
    def refused(data: Path, **changes: Any) -> str:
        spec = CellSpec(**UNET | {"recipe": AS_IT_IS} | changes)
        with pytest.raises(SegbenchError) as caught:
            train(data, spec, tmp_path / "refused", weights=ours, threads=1)
        return str(caught.value)

    assert "lacks the classes background, tvmonitor" in refused(voc)
    assert "does not fit segbench.models.unet:UNet" in refused(shapes, options={"widths": [4, 6]})
    with pytest.raises(SegbenchError, match="requires images of 3 channels; the dataset has 1"):
        public_network(CellSpec(**UNET, recipe=AS_IT_IS), Dataset(shapes).view("semantic"), 1, ours)
    backbone = CellSpec(**UNET, recipe=AS_IT_IS)
    with pytest.raises(SegbenchError, match="none are given"):
        train(shapes, backbone, tmp_path / "refused", threads=1)


def test_rgb_weights_train_on_images_of_other_channels(shapes: Path, ours: Path) -> None:
    view = Dataset(shapes).view("semantic")
    trained = CellSpec(**UNET, recipe=Recipe(iterations=1, batch_size=1))
    rgb, _ = public_network(trained, view, 3, ours)
    for channels in (1, 5):
        network, _ = public_network(trained, view, channels, ours)
        assert network.in_channels == channels
        changed = {k for k, v in rgb.state_dict().items() if not torch.equal(v, network.state_dict()[k])}
        (first,) = changed
        weight, own = rgb.state_dict()[first], network.state_dict()[first]
        expected = weight.sum(1, keepdim=True) if channels == 1 else weight[:, [0, 1, 2, 0, 1]] * (3 / 5)
        torch.testing.assert_close(own, expected)
