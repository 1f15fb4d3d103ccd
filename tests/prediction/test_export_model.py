"""Networks that are exported for other programs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_networks import make_spec
from torch import Tensor

from segbench.contract.cell import CellSpec
from segbench.contract.run import CellDescription, DatasetDescription, RunDescription
from segbench.errors import SegbenchError
from segbench.files import write_text
from segbench.models.layers.backbones import pad_to_multiple
from segbench.models.saved import load_model
from segbench.prediction.runner import export, exported
from segbench.prediction.runner.export import export_model

UNET = {
    "class_path": "segbench.models.unet:UNet",
    "options": {"widths": [4, 8]},
    "task": "semantic",
    "seed": 0,
}


def unet(**inference: object) -> CellSpec:
    recipe = {"iterations": 2, "batch_size": 2, "augment": {"crop": [24, 24]}, "inference": inference}
    return CellSpec.model_validate({**UNET, "recipe": recipe})


def in_run(root: Path, shapes: Path) -> None:
    """Describe a run with the cell shapes/net/seed0."""
    cells = [CellDescription(dataset="shapes", model="net", seed=0, task="semantic")]
    described = RunDescription(name="r", cells=cells, datasets={"shapes": DatasetDescription(root=shapes)})
    write_text(root / "run.json", described.model_dump_json())


def test_a_program_of_torch_for_images_of_any_size(run, shapes: Path, tmp_path: Path) -> None:
    run("cells/shapes/net/seed0", unet())
    in_run(tmp_path, shapes)
    cell = tmp_path / "cells" / "shapes" / "net" / "seed0"
    path = export_model(cell, "torch")
    assert path == cell / "model.pt2"
    extra = {"segbench.json": ""}
    program = torch.export.load(path, extra_files=extra)
    described = json.loads(extra["segbench.json"])
    assert [c["name"] for c in described["classes"]] == ["sky", "ground", "box", "disc"]
    trained = load_model(cell / "model.pt", torch.device("cpu"))
    assert (described["mean"], described["std"], described["size"]) == (trained.mean, trained.std, None)
    for size in ((1, 3, 31, 50), (3, 3, 24, 32)):
        images = torch.randn(size)
        with torch.inference_mode():
            torch.testing.assert_close(program.module()(images), trained.network(images))


@pytest.mark.slow
def test_an_onnx_file_for_images_of_any_size(run, shapes: Path, tmp_path: Path) -> None:
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    run("cell", unet(window=[24, 32], overlap=0.25))
    path = export_model(tmp_path / "cell" / "model.pt", "onnx", tmp_path / "net.onnx", shapes)
    described = json.loads({p.key: p.value for p in onnx.load(path).metadata_props}["segbench"])
    assert described["inference"]["window"] == [24, 32] and described["activation"] == "softmax"
    trained = load_model(tmp_path / "cell" / "model.pt", torch.device("cpu"))
    session = onnxruntime.InferenceSession(path)
    for size in ((1, 3, 31, 50), (3, 3, 24, 32)):
        images = torch.randn(size)
        (found,) = session.run(["logits"], {"images": images.numpy()})
        with torch.inference_mode():
            np.testing.assert_allclose(found, trained.network(images).numpy(), atol=1e-4)


def test_a_network_that_takes_one_size_is_exported_for_that(
    run, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of the first three test images have the size of the second; the first one decides."""
    run("cell", make_spec("OneSize"))
    path = export_model(tmp_path / "cell", "torch", data=shapes)
    extra = {"segbench.json": ""}
    program = torch.export.load(path, extra_files=extra)
    assert json.loads(extra["segbench.json"])["size"] == [48, 60]
    assert program.module()(torch.zeros(1, 3, 48, 60)).shape == (1, 4, 48, 60)


def test_a_file_that_predicts_otherwise_is_refused(
    run, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("cell", make_spec())
    network = load_model(tmp_path / "cell" / "model.pt", torch.device("cpu")).network

    def wrong(*_: object):
        return lambda images: network(images) + torch.tensor([0.0, 3, 0, 0])[:, None, None]

    monkeypatch.setattr(export, "traced", lambda *_: exported.Exported(None, None))
    monkeypatch.setattr(export, "write", lambda _, to, path, description: path.write_bytes(b"1"))
    for run_of_file in (wrong, lambda *_: lambda images: network(images) * torch.nan):
        monkeypatch.setattr(export, "runner", run_of_file)
        with pytest.raises(
            SegbenchError, match="does not predict as the cell does on 3 images: logits differ"
        ):
            export_model(tmp_path / "cell", "torch", data=shapes)
        assert not (tmp_path / "cell" / "model.pt2").exists()


def test_what_cannot_be_exported_is_said_before_the_work(
    run, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "traced", lambda *_: pytest.fail("it was traced"))
    run("panoptic", make_spec("Everything", task="panoptic"))
    with pytest.raises(SegbenchError, match="tiny_networks:Everything has no map of logits: only semantic"):
        export_model(tmp_path / "panoptic", "torch", data=shapes)
    run("cell", make_spec())
    with pytest.raises(SegbenchError, match="belongs to no run here.*\n.*--data"):
        export_model(tmp_path / "cell", "torch")
    with pytest.raises(SegbenchError, match=r"none.model.pt|none: "):
        export_model(tmp_path / "none", "torch", data=shapes)

    def refuse(*_: object) -> Tensor:
        raise RuntimeError("aten.nonzero is data-dependent\nand more")

    monkeypatch.setattr(export, "traced", refuse)
    with pytest.raises(
        SegbenchError, match=r"cannot be exported to torch \(RuntimeError: aten.nonzero is data-"
    ):
        export_model(tmp_path / "cell", "torch", data=shapes)


def test_padding_is_the_same_while_a_network_is_exported() -> None:
    class Padded(torch.nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return pad_to_multiple(images, 8) + 0

    auto = torch.export.Dim.AUTO
    dynamic = ({2: auto, 3: auto},)
    program = torch.export.export(Padded(), (torch.zeros(1, 1, 13, 16),), dynamic_shapes=dynamic).module()
    for size in ((1, 1, 16, 16), (1, 1, 9, 30)):
        images = torch.randn(size)
        assert torch.equal(program(images), Padded()(images))
