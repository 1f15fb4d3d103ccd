"""A copy of the project with a toy network and a toy dataset, and a tiny benchmark on it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from warm_server import WarmServer

ROOT = Path(__file__).parents[2]

TOY_NETWORK = '''
import torch
from segbench.models.network import SemanticNetwork


class Toy(SemanticNetwork):
    """One convolution."""

    def __init__(self, view, in_channels, loss=None):
        super().__init__(view, in_channels, loss)
        self.layer = torch.nn.Conv2d(in_channels, len(view.classes), 3, padding=1)

    def forward(self, images):
        return self.layer(images)
'''

TOY_DATASET = '''
import io
import numpy as np
from PIL import Image
from segbench.contract.view import Category
from segbench.data.dataset import Converted, Sample


def convert(archives, options):
    """Bright left halves."""
    categories = [Category(id=1, name="bright", isthing=False, color=(255, 200, 0))]
    return Converted(categories, True, "test", samples(), orientation="stored")


def samples():
    for split, count in (("test", 2), ("train", 4)):
        for i in range(count):
            rng = np.random.default_rng([i, len(split)])
            truth = np.zeros((24, 32), int)
            truth[:, : 8 + 2 * i] = 1
            file = io.BytesIO()
            image = truth * 120 + rng.integers(0, 60, truth.shape)
            Image.fromarray(image.astype(np.uint8)).save(file, "PNG")
            yield Sample(split, f"{i}", file.getvalue(), ".png", semantic=truth)
'''

TOY_MODEL_ENTRY = {
    "title": "Toy",
    "class": "toy_network:Toy",
    "tasks": ["semantic"],
    "card": "One convolution, for tests.",
    "recipes": {"demo": {"iterations": 3, "batch_size": 2}},
}
TOY_DATASET_ENTRY = {
    "title": "Toy data",
    "convert": "toy_dataset:convert",
    "tasks": ["semantic"],
    "channels": 1,
    "options": {"folder": "toy_folder"},
    "licence": "CC0-1.0",
    "citation": "none",
}
CONFIG = {
    "run": "tiny",
    "datasets": ["toy", "vessels"],
    "models": ["toy", "unet"],
    "controls": ["control_constant"],
    "dataset_options": {"vessels": {"size": [64, 64], "images": {"train": 4, "test": 2}}},
    "overrides": [
        {
            "models": ["unet"],
            "recipe": {
                "iterations": 2,
                "batch_size": 2,
                "options": {"widths": [4, 8]},
                "augment": {"crop": [32, 32]},
            },
        }
    ],
}


class Project:
    """A copy of the project in which a test may edit anything.

    Args:
        root: its folder.
        warm: server that runs its commands; None: as a user starts them.
    """

    def __init__(self, root: Path, warm: WarmServer | None = None) -> None:
        self.root, self.warm = root, warm
        self._python = warm.write_client(root) if warm else Path(sys.executable)
        self.environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
        self._originals: dict[Path, str] = {}

    def edit(self, name: str, before: str = "", after: str = "") -> None:
        """Put text before and after the text of a file, until `undo`."""
        path = self.root / name
        text = self._originals.setdefault(path, path.read_text())
        path.write_text(before + text + after)

    def undo(self) -> None:
        for path, text in self._originals.items():
            path.write_text(text)
        self.config()

    def config(self, **changes: object) -> None:
        (self.root / "tiny.yaml").write_text(yaml.safe_dump({**CONFIG, **changes}))

    def run(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `snakemake` or `segbench`."""
        if self.warm:
            return self.warm.run(command, [*arguments], self.root, self.environment, self._python)
        module = {"snakemake": "snakemake", "segbench": "segbench.cli"}[command]
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("snakemake", "--configfile", "tiny.yaml", "--cores", "2", *arguments)

    def segbench(self, *arguments: str) -> str:
        """Output of a command."""
        result = self.run("segbench", *arguments)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def jobs(self) -> dict[str, int]:
        """Number of jobs a rule that a run would start."""
        result = self.snakemake("--dry-run")
        assert result.returncode == 0, result.stdout + result.stderr
        table = re.search(r"Job stats:\n.*?\n-+ .*?\n(.*?)\n\n", result.stdout + result.stderr, re.DOTALL)
        if table is None:
            assert "Nothing to be done" in result.stdout + result.stderr
            return {}
        rows = dict(line.split()[:2] for line in table[1].splitlines())
        return {rule: int(count) for rule, count in rows.items() if rule not in ("all", "total")}


def make_project(root: Path, warm: WarmServer | None = None) -> Project:
    """A project with a toy network and a toy dataset added, not run."""
    root.mkdir(parents=True, exist_ok=True)
    for name in ("Snakefile", "workflow", "segbench", "config", "profiles"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, root / name)
    (root / "toy_network.py").write_text(TOY_NETWORK)
    (root / "toy_dataset.py").write_text(TOY_DATASET)
    (root / "toy_folder" / "inner").mkdir(parents=True)
    (root / "toy_folder" / "inner" / "a.json").write_text("{}")
    (root / "config/models/toy.yaml").write_text(yaml.safe_dump(TOY_MODEL_ENTRY))
    (root / "config/datasets/toy.yaml").write_text(yaml.safe_dump(TOY_DATASET_ENTRY))
    project = Project(root, warm)
    project.config()
    return project
