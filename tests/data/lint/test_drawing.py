from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from segbench.cli import app


def test_the_command_draws_classes_sizes_and_pairs(shapes: Path, tmp_path: Path) -> None:
    """The made images of two splits differ by more than a hash tolerates, but one is put into both."""
    import shutil

    root = tmp_path / "shapes"
    shutil.copytree(shapes, root)
    path = root / "test" / "images" / "00.png"
    pixels = np.asarray(Image.open(root / "train" / "images" / "00.png")).astype(int)
    Image.fromarray((pixels + 2).clip(0, 255).astype(np.uint8)).save(
        path
    )  # same size: number 0 of each split
    result = CliRunner().invoke(app, ["lint", str(root), "--out", str(root / "lint.json")])
    assert result.exit_code == 0, result.output
    report = json.loads((root / "lint.json").read_text())
    assert {"files": ["test/images/00.png", "train/images/00.png"], "distance": 0} in report[
        "near_duplicates"
    ]
    for name in ("lint.png", "near_duplicates.png"):
        with Image.open(root / name) as image:
            assert image.format == "PNG" and np.ptp(np.asarray(image.convert("L"))) > 100
