"""Damaged configuration files."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from forked import random_of, seeds
from mutations import damaged, warped

from segbench.config.registry import CONFIG, read_yaml
from segbench.config.resolve import resolve
from segbench.errors import SegbenchError

ROOT = Path(__file__).parents[2] / CONFIG
FILES = (
    "config.yaml",
    "datasets/street.yaml",
    "datasets/voc2012.yaml",
    "models/unet.yaml",
    "models/mask2former_resnet50.yaml",
    "recipes/budget.yaml",
    "weights/efficientnet_lite0.yaml",
)


@pytest.fixture(scope="module")
def sound() -> dict[str, bytes]:
    names = ["config.yaml", *(str(p.relative_to(ROOT)) for k in ("datasets", "models", "recipes", "weights")
                              for p in (ROOT / k).glob("*.yaml"))]  # fmt: skip
    return {name: (ROOT / name).read_bytes() for name in names}


@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file(file: str, sound: dict[str, bytes], tmp_path: Path) -> None:
    for name, content in sound.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    for seed in seeds(12):
        rng = random_of(file, seed)
        if rng.random() < 0.3:
            content = damaged(sound[file], rng)
        else:
            content = yaml.safe_dump(warped(yaml.safe_load(sound[file]), rng)).encode("utf-8", "replace")
        (tmp_path / file).write_bytes(content)
        before = {p: p.read_bytes() for p in tmp_path.rglob("*.yaml")}
        try:
            raw = read_yaml(tmp_path / "config.yaml") or {}
            if not isinstance(raw, dict):
                continue  # Snakemake refuses it
            if file != "config.yaml":
                raw["datasets"] = ["street", "voc2012"]
            if file.startswith("recipes"):
                raw["recipe"] = Path(file).stem
            run = resolve(raw, tmp_path, "config.yaml")
            run.as_yaml()
            for cell in run.cells:
                assert cell.spec and (cell.control_keys if cell.control else cell.inference)
            for name in run.datasets:
                assert run.convert_spec(name)
            names = [*run.datasets, *run.models, *run.archives, run.config.run]
            assert all(Path(name).name == name and name.isprintable() for name in names)
        except SegbenchError as error:
            assert Path(file).stem in str(error) and error.remedy, (seed, content, error)
        except Exception as error:
            raise AssertionError((seed, content)) from error
        assert before == {p: p.read_bytes() for p in tmp_path.rglob("*.yaml")}


VALUES = (
    None,
    "",
    "8",
    8,
    -1,
    0.5,
    True,
    [],
    [8],
    ["a", None],
    {},
    {"train": "4"},
    "é 'x' {y}",
    "~",
    10**400,
)


def test_any_value_as_an_option_or_a_path() -> None:
    """Every key of the run's paths, of a network's and of a dataset's options, known and not."""
    sound = {"datasets": ["vessels"], "models": ["unet"], "controls": []}
    for value in VALUES:
        for key in ("widths", "up_norm", "loss", "view", "self", "widthz", ""):
            check({**sound, "overrides": [{"recipe": {"options": {key: value}}}]}, (key, value))
        for key in ("seed", "size", "images", "train", "folder", ""):
            check({**sound, "dataset_options": {"vessels": {key: value}}}, (key, value))
        for key in ("results", "data", "archives", "weights", "mirror", "device"):
            check({**sound, key: value}, (key, value))


def check(raw: dict, case: object) -> None:
    try:
        resolve(raw, ROOT, "config.yaml").as_yaml()
    except SegbenchError as error:
        assert error.remedy and "in the configuration" in str(error), case
    except Exception as error:
        raise AssertionError(case) from error
