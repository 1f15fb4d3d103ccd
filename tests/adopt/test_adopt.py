from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner, Result

from segbench.adopt.adopt import parsed_options
from segbench.cli import app
from segbench.data.dataset import Dataset
from segbench.errors import SegbenchError
from tests.adopt.conftest import Save, Scenes

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """The registry without datasets."""
    shutil.copytree(CONFIG / "models", tmp_path / "config" / "models")
    shutil.copy(CONFIG / "config.yaml", tmp_path / "config")
    (tmp_path / "config" / "datasets").mkdir()
    return tmp_path / "config"


@pytest.fixture
def folder(scenes: Scenes, put: Save, tmp_path: Path) -> Path:
    """Images of three films with masks of the values 0, 1, 2, 3, inside of another folder."""
    for k, scene in enumerate(scenes):
        put(f"My cells/images/film{k // 2}_{k}.png", scene.photo)
        put(f"My cells/masks/film{k // 2}_{k}.png", scene.classes)
    return tmp_path / "own"


@pytest.fixture
def adopt(registry: Path, folder: Path, tmp_path: Path):
    def run(*options: str, of: Path = folder) -> Result:
        data = ["--data", str(tmp_path / "data"), "--config", str(registry)]
        return CliRunner().invoke(app, ["adopt", str(of), *data, *options])

    return run


@pytest.fixture
def no_sheet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the drawing."""
    monkeypatch.setattr("segbench.adopt.adopt.contact_sheet", lambda root, path: None)


def test_folder_becomes_an_entry_a_dataset_and_a_sheet(
    adopt, registry: Path, folder: Path, tmp_path: Path
) -> None:
    result = adopt("--name", "cells")
    assert result.exit_code == 0, result.output
    text = (registry / "datasets" / "cells.yaml").read_text()
    assert yaml.safe_load(text) == {
        "title": "Cells",
        "convert": "segbench.data.converters.pairs:convert",
        "tasks": ["semantic"],
        "channels": 3,
        "options": {
            "folder": str(folder),
            "image": "images/{name}.png",
            "mask": "masks/{name}.png",
            "classes": {0: "background", 1: "class_1", 2: "class_2", 3: "class_3"},
        },
        "licence": "not stated",
        "citation": "not stated",
        "recipe": {"fit": True},
    }
    assert "# Seen:\n#   - 8 images with masks, such as images/film0_0.png with masks/film0_0.png" in text
    assert "#   - each value is a class; 0 is background" in text
    assert '  # group: "^([^\\\\d]*\\\\d+)(?=[^\\\\d].*\\\\d)"' in text
    info = Dataset(tmp_path / "data" / "cells").info
    assert info.splits == {"test": 2, "train": 6} and info.tasks == ["semantic"]
    with Image.open(tmp_path / "data" / "cells.png") as sheet:
        assert sheet.width > 1500
        shown = np.asarray(sheet.convert("RGB")).reshape(-1, 3)
    assert (shown == (128, 0, 0)).all(1).any()  # the bar of the first class
    assert (
        "--config run=cells datasets=[cells] models=[unet,fcn8s_vgg16,mask2former_resnet50] "
        f"data={tmp_path / 'data'}" in result.output
    )


def test_entry_of_the_user_is_kept(adopt, no_sheet, registry: Path) -> None:
    entry = registry / "datasets" / "own.yaml"
    entry.write_text("mine")
    result = adopt()
    assert isinstance(result.exception, SegbenchError)
    assert "own.yaml: exists" in str(result.exception) and "--force replaces it" in str(result.exception)
    assert entry.read_text() == "mine"
    assert adopt("--force").exit_code == 0 and "title:" in entry.read_text()


def test_edited_entry_is_converted_again(adopt, no_sheet, registry: Path, tmp_path: Path) -> None:
    adopt()
    entry = registry / "datasets" / "own.yaml"
    entry.write_text(text := entry.read_text().replace("class_2", "nut").replace("class_3", "nut"))
    assert adopt("--keep").exit_code == 0
    assert entry.read_text() == text
    assert [c.name for c in Dataset(tmp_path / "data" / "own").info.categories] == ["class_1", "nut"]


def test_nothing_stays_if_the_conversion_fails(adopt, registry: Path, tmp_path: Path, put: Save) -> None:
    put("My cells/masks/film9_9.png", np.zeros((32, 40), np.uint8))
    result = adopt()
    assert "film9_9.png: is a mask of 'film9_9', but there is no such image" in str(result.exception)
    assert not list((registry / "datasets").iterdir())
    assert not [p for p in (tmp_path / "data").rglob("*") if p.suffix in (".json", ".png", ".yaml")]


def test_options_of_the_user_say_otherwise(adopt, no_sheet, registry: Path) -> None:
    assert adopt("--set", "objects=nut", "--set", "test=['film3*']").exit_code == 0
    entry = yaml.safe_load((registry / "datasets" / "own.yaml").read_text())
    assert entry["tasks"] == ["semantic", "instance"]
    assert entry["options"]["objects"] == "nut" and entry["options"]["test"] == ["film3*"]
    assert "classes" not in entry["options"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("no", "no: does not exist"), ("a.zip", "a.zip: is an archive\n  remedy: extract it")],
)
def test_what_is_no_folder(name: str, message: str, adopt, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path / "own")
    assert message in str(adopt(of=tmp_path / name).exception)


def test_values_of_options_are_yaml_but_patterns_are_text() -> None:
    assert parsed_options(["void=[255]", "mask={name}_m.png", "objects=cell"]) == {
        "void": [255],
        "mask": "{name}_m.png",
        "objects": "cell",
    }
    for wrong in ("void", "void=[", "a b=1"):
        with pytest.raises(SegbenchError, match="--set"):
            parsed_options([wrong])


def test_errors_of_the_data_keep_entry_and_sheet(adopt, registry: Path, put: Save, tmp_path: Path) -> None:
    for name in ("film9_1", "film9_2"):
        put(f"My cells/images/{name}.png", np.full((32, 40, 3), 7, np.uint8))
        put(f"My cells/masks/{name}.png", np.eye(32, 40, dtype=np.uint8) * 4)
    result = adopt("--set", "test=['film9_*']", "--name", "cells")
    assert "train/semantic: classes that never occur: class_4" in str(result.exception)
    assert "--keep; a rare class may be in the test images only" in str(result.exception)
    assert (registry / "datasets" / "cells.yaml").exists() and (tmp_path / "data" / "cells.png").exists()
