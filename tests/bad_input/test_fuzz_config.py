"""Damaged configuration files."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from forked import random_of, seeds
from mutations import damaged, warped

from segbench.config import CONFIG, read_yaml, resolve
from segbench.errors import SegbenchError

ROOT = Path(__file__).parents[2] / CONFIG
FILES = (
    "config.yaml",
    "datasets/street.yaml",
    "datasets/voc2012.yaml",
    "models/unet.yaml",
    "models/mask2former_resnet50.yaml",
    "weights/efficientnet_lite0.yaml",
)


@pytest.fixture(scope="module")
def sound() -> dict[str, bytes]:
    names = ["config.yaml", *(str(p.relative_to(ROOT)) for k in ("datasets", "models", "weights")
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
            run = resolve(raw, tmp_path, "config.yaml")
            run.as_yaml()
            for cell in run.cells:
                assert cell.spec and cell.predict_arguments
            for name in run.datasets:
                assert run.convert_spec(name)
            names = [*run.datasets, *run.models, *run.archives, run.config.run]
            assert all(Path(name).name == name and name.isprintable() for name in names)
        except SegbenchError as error:
            assert Path(file).stem in str(error) and error.remedy, (seed, content, error)
        except Exception as error:
            raise AssertionError((seed, content)) from error
        assert before == {p: p.read_bytes() for p in tmp_path.rglob("*.yaml")}
