"""A real probe of tiny networks on the processor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_networks import Plain
from trained import torch_settings  # noqa: F401

from segbench.contract.cell import CellSpec
from segbench.data.dataset import Dataset
from segbench.jobs.cost import probes
from segbench.jobs.cost.probes import Probe
from segbench.jobs.cost.work import Scene, Work, work_of
from segbench.probe.dataset import write_noise
from segbench.probe.runner.probe import probe, summary
from segbench.probe.scene import squares

SCENE = Scene((48, 64), 5, 3, 6, 10, {}, "test", False)


def work(network: str = "Plain", task: str = "semantic", **recipe: Any) -> Work:
    spec = {
        "class_path": f"tiny_networks:{network}",
        "options": {},
        "task": task,
        "seed": 0,
        "recipe": {"iterations": 500, "batch_size": 4, "augment": {"crop": [32, 32]}} | recipe,
    }
    return work_of(CellSpec.model_validate(spec), SCENE, 3)


class Small(Plain):
    """Runs out of memory with more than one image in a forward pass."""

    def losses(self, images: torch.Tensor, targets: list[Any]) -> dict[str, torch.Tensor]:
        if len(images) > 1:
            raise torch.OutOfMemoryError("made up")
        return super().losses(images, targets)


def test_a_probe_of_a_tiny_network(tmp_path: Path) -> None:
    out, folder = tmp_path / "run/probe.json", tmp_path / "probes"
    found = probe(work(), out, folder=folder, code="a", threads=1, device="cpu", steps=2)
    assert not found.gpu and found.fits and found.precision in ("fp32", "bf16")
    assert found.seconds > 0 and found.loading > 0 and found.prediction_seconds > 0
    forward = 4 * 32 * 32 * 2 * (9 * 3 * 8 + 8 * 6)
    image = 4 * 32 * 32 * 2 * 9 * 3 * 8  # no gradient of the images
    assert found.flops == 3 * forward - image
    assert found.prediction_flops == 48 * 64 * 2 * (9 * 3 * 8 + 8 * 6)
    assert found.peak and 0 < (found.share or 0) < 1
    assert found.memory.resident > 10**7 and found.memory.allocated is None
    assert Probe.model_validate(json.loads(out.read_text())) == found
    assert [p.name for p in folder.glob("*.json")] == [found.name]
    assert "a step of 4 images" in summary(found)
    again = probe(work(), tmp_path / "other.json", folder=folder, code="a", threads=1, device="cpu")
    assert again == found and (tmp_path / "other.json").exists()


def test_a_probe_that_runs_out_of_memory_says_what_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiny_networks.Plain", Small)
    found = probe(work(), tmp_path / "a.json", folder=tmp_path, device="cpu", steps=1)
    assert (found.accumulate, found.work.accumulate, found.fits) == (4, 1, False)
    assert "accumulate: 4 fits, 1 does not" in summary(found)
    assert probes.Probes(tmp_path).all[-1].accumulate == 4


def test_a_panoptic_network_is_probed_on_several_devices_share(tmp_path: Path) -> None:
    wide = work("Everything", "panoptic", gpus=2, ema=0.9)
    assert wide.batch == 2
    found = probe(wide, tmp_path / "a.json", folder=tmp_path, device="cpu", steps=1)
    assert found.flops > 0


@pytest.mark.parametrize("task", ["semantic", "instance", "detection", "panoptic"])
def test_noise_has_the_truth_of_every_task(tmp_path: Path, task: str) -> None:
    one = work("Everything", "panoptic")
    one = one.model_copy(update={"network": one.network.model_copy(update={"task": task})})
    write_noise(one, tmp_path / "noise")
    info = Dataset(tmp_path / "noise").info
    assert task in [*info.tasks, "detection"]
    assert len(info.categories) == 5 and sum(c.isthing for c in info.categories) == 3
    assert info.statistics.objects_per_image.p50 == 6
    assert info.statistics.short_side.p50 == 48


@pytest.mark.parametrize(
    ("size", "objects", "side"), [((40, 60), 7, 9), ((10, 300), 5, 400), ((8, 8), 60, 3)]
)
def test_squares_do_not_overlap(size: tuple[int, int], objects: int, side: int) -> None:
    corners = squares(size, objects, side)
    assert 0 < len(corners) <= objects
    seen = torch.zeros(size)
    for top, left, bottom, right in corners:
        assert 0 <= top < bottom <= size[0] and 0 <= left < right <= size[1]
        seen[top:bottom, left:right] += 1
    assert seen.max() == 1
