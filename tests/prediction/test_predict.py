from __future__ import annotations

import errno
import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from overlapping_data import layers
from PIL import Image
from tiny_networks import make_spec

from segbench.contract.recipe import Inference
from segbench.contract.view import View
from segbench.data.dataset import Dataset
from segbench.data.images import read_image
from segbench.data.writing.writer import write_dataset
from segbench.errors import SegbenchError
from segbench.jobs.locks import alone_in
from segbench.models.saved import load_model
from segbench.prediction import predict as core
from segbench.prediction.runner import predict as module
from segbench.prediction.runner.predict import predict

CPU = torch.device("cpu")


def read(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.array(Image.open(path)) for path in (folder / "semantic").glob("*.png")}


@pytest.fixture
def model(run, tmp_path: Path) -> Path:
    run("cell", make_spec("Normalised", iterations=20, precision="fp32"))
    return tmp_path / "cell" / "model.pt"


def test_predictions_are_the_networks(model: Path, shapes: Path, tmp_path: Path) -> None:
    out = model.parent / "predictions"
    predict(shapes, model, out, threads=1)
    written = read(out)
    split = Dataset(shapes).split("test")
    assert sorted(written) == [r.path.name for r in split]
    trained = load_model(model, CPU)
    for record in split:
        image = torch.tensor(read_image(record.path, 3)).permute(2, 0, 1) / 255
        mean, std = (torch.tensor(v, dtype=torch.float32).view(3, 1, 1) for v in (trained.mean, trained.std))
        with torch.no_grad():
            labels = trained.network(((image - mean) / std)[None])[0].argmax(0)
        assert (written[record.path.name] == labels.numpy() + 1).all()  # ids count from 1


STATE = ["checkpoint.pt", "history.partial.csv"]


def state_of(model: Path) -> list[str]:
    return [name for name in STATE if model.with_name(name).exists()]


def test_what_a_training_needs_to_go_on_is_removed_after_the_prediction(model: Path, shapes: Path) -> None:
    assert state_of(model) == STATE
    predict(shapes, model, model.parent / "predictions", threads=1)
    assert state_of(model) == []


def test_what_another_training_needs_to_go_on_stays(run, model: Path, shapes: Path) -> None:
    """The state of another training, interrupted or running, stays, and so do unreadable files."""
    older = model.read_bytes()
    with alone_in(model.parent):
        predict(shapes, model, model.parent / "predictions", threads=1)
    assert state_of(model) == STATE
    run("cell", make_spec("Normalised", iterations=3, precision="fp32"))
    model.write_bytes(older)
    predict(shapes, model, model.parent / "predictions", threads=1)
    assert state_of(model) == STATE
    model.with_name("checkpoint.pt").write_bytes(b"torn")
    predict(shapes, model, model.parent / "predictions", threads=1)
    assert state_of(model) == STATE


def test_efficiency(model: Path, shapes: Path) -> None:
    predict(shapes, model, model.parent / "predictions", threads=1)
    found = json.loads((model.parent / "efficiency.json").read_text())
    channels, height, width = found["flops_image"]
    assert (channels, height, width) == (3, 48, 60)
    # a multiply-add counts 2: 3 x 3 convolution of 3 to 8 channels, 1 x 1 of 8 to the 4 classes
    assert found["flops"] == 2 * height * width * (9 * 3 * 8 + 8 * 4)
    assert found["parameters"] == 9 * 3 * 8 + 8 + 2 * 8 + 8 * 4 + 4
    assert found["latency_images"] == found["images"] == 5
    assert 0 < found["latency_network_median"] < found["latency_median"] < found["seconds"]
    assert found["peak_memory"] > 0 and found["processor"]


def test_batches_change_nothing(model: Path, shapes: Path, tmp_path: Path, monkeypatch) -> None:
    predict(shapes, model, tmp_path / "one", threads=1)
    monkeypatch.setattr(core, "LATENCY_IMAGES", 1)
    sizes = []
    single = module.Stopwatch.__call__
    monkeypatch.setattr(
        module.Stopwatch, "__call__", lambda self, images: sizes.append(len(images)) or single(self, images)
    )
    predict(shapes, model, tmp_path / "many", inference=Inference(batch_size=4), threads=1)
    assert sizes == [1, 2, 1, 1]  # the third and the fourth image differ in size from their neighbours
    one, many = read(tmp_path / "one"), read(tmp_path / "many")
    assert all((one[name] == many[name]).all() for name in one)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first image is read and written while nothing else runs."""
    for place in (core, module):
        monkeypatch.setattr(place, "LATENCY_IMAGES", 1)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_processes_and_a_thread_change_no_file(
    run, shapes: Path, tmp_path: Path, one_by_one: None, batch_size: int
) -> None:
    run("cell", make_spec("Everything", task="panoptic"))
    writers = set()
    known = core.PredictionWriter.add

    def add(self: Any, *arguments: Any) -> None:
        writers.add(threading.get_ident())
        known(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core.PredictionWriter, "add", add)
        for workers in (0, 2):
            out = tmp_path / str(workers) / "predictions"
            how = Inference(batch_size=batch_size)
            predict(shapes, tmp_path / "cell" / "model.pt", out, inference=how, threads=1, workers=workers)
            assert (threading.get_ident() in writers) == (workers == 0)
            writers.clear()
    assert files(tmp_path / "0" / "predictions") == files(tmp_path / "2" / "predictions")
    alone, together = (
        json.loads((tmp_path / name / "efficiency.json").read_text())["latency_images"] for name in "02"
    )
    assert together == 1 and alone == (5 if batch_size == 1 else 3)


def test_an_image_that_a_process_cannot_read_is_named(
    model: Path, shapes: Path, tmp_path: Path, one_by_one: None
) -> None:
    root = shutil.copytree(shapes, tmp_path / "broken")
    path = Dataset(root).split("test").images[3].path
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(SegbenchError, match=path.name):
        predict(root, model, model.parent / "predictions", threads=1, workers=1)
    assert not (model.parent / "predictions").exists()


def test_an_error_of_the_thread_that_writes_leaves_nothing(
    model: Path, shapes: Path, one_by_one: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(model.parent.iterdir())
    known = core.PredictionWriter.add

    def add(self: Any, record: Any, found: Any) -> None:
        if record.id == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        known(self, record, found)

    monkeypatch.setattr(core.PredictionWriter, "add", add)
    with pytest.raises(OSError, match="No space left on device"):
        predict(shapes, model, model.parent / "predictions", threads=1, workers=1)
    assert sorted(model.parent.iterdir()) == before


def test_every_part_is_written(run, shapes: Path, tmp_path: Path) -> None:
    run("cell", make_spec("Everything", task="panoptic"))
    out = tmp_path / "cell" / "predictions"
    predict(shapes, tmp_path / "cell" / "model.pt", out, threads=1)
    assert json.loads((out / "predictions.json").read_text())["parts"] == [
        "semantic",
        "instances",
        "panoptic",
    ]
    assert len(json.loads((out / "instances.json").read_text())) >= 5


def test_another_class_list_is_refused(model: Path, shapes: Path, tmp_path: Path) -> None:
    root = shutil.copytree(shapes, tmp_path / "other")
    info: dict[str, Any] = json.loads((root / "dataset.json").read_text())
    info["categories"][2]["name"], info["name"] = "crate", "crates"
    (root / "dataset.json").write_text(json.dumps(info))
    with pytest.raises(
        SegbenchError, match=r"model\.pt: was trained on the classes of 'shapes', not those of 'crates'"
    ):
        predict(root, model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["cut", "nonsense", "other"])
def test_a_broken_model_is_named(model: Path, shapes: Path, tmp_path: Path, damage: str) -> None:
    if damage == "cut":
        model.write_bytes(model.read_bytes()[:500])
    elif damage == "nonsense":
        model.write_bytes(b"x" * 500)
    else:
        torch.save({"spec": "{}"}, model)
    with pytest.raises(SegbenchError, match=r"model\.pt: (cannot be read|does not fit)"):
        predict(shapes, model, tmp_path / "out")


def test_code_in_a_model_is_not_run(shapes: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "run",)

    torch.save({"spec": Evil()}, tmp_path / "model.pt")
    with pytest.raises(SegbenchError, match="cannot be read"):
        predict(shapes, tmp_path / "model.pt", tmp_path / "out")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("trained_on", [True, False])
def test_classes_that_overlap_are_other_classes(tmp_path: Path, trained_on: bool) -> None:
    texts = {"title": "", "licence": "", "citation": ""}
    converted = replace(layers(), overlapping=not trained_on)
    for sample in converted.samples:
        sample.semantic = np.ones((2, 6), int)
    write_dataset(converted, tmp_path / "data", name="data", archives={}, channels=3, **texts)
    dataset = Dataset(tmp_path / "data")
    view = View("semantic", dataset.view("semantic").classes, overlapping=trained_on)
    trained = SimpleNamespace(view=view, spec=make_spec(), dataset="layers")
    with pytest.raises(SegbenchError, match="was trained on the classes of 'layers', not those of 'data'"):
        core.check_classes(trained, dataset, tmp_path / "model.pt")
    trained.view = dataset.view("semantic")
    core.check_classes(trained, dataset, tmp_path / "model.pt")


def test_another_split(model: Path, shapes: Path) -> None:
    out = model.parent / "train" / "predictions"
    predict(shapes, model, out, split="train", threads=1)
    index = json.loads((out / "predictions.json").read_text())
    names = sorted(r.path.name for r in Dataset(shapes).split("train"))
    assert index["split"] == "train" and sorted(read(out)) == names
    assert json.loads((out.parent / "efficiency.json").read_text())["images"] == len(names)
    with pytest.raises(SegbenchError, match="no split 'tran' .has: test, train"):
        predict(shapes, model, out, split="tran", threads=1)


def test_objects_of_tiles_are_written(run, shapes: Path, tmp_path: Path) -> None:
    """Objects with run lengths are written like those with masks."""
    run("cell", make_spec("Everything", task="panoptic"))
    out, model = tmp_path / "cell" / "predictions", tmp_path / "cell" / "model.pt"
    predict(shapes, model, out, inference=Inference(window=(24, 24)), threads=1)
    assert json.loads((out / "predictions.json").read_text())["parts"] == [
        "semantic",
        "instances",
        "panoptic",
    ]
    sizes = {tuple(o["segmentation"]["size"]) for o in json.loads((out / "instances.json").read_text())}
    images = Dataset(shapes).split("test")
    assert sizes == {read_image(record.path, 3).shape[:2] for record in images}
