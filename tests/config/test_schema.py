from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from small_registry import (
    config,
)

from segbench.config.resolve import resolve
from segbench.config.schema import RunConfig
from segbench.errors import SegbenchError

ROOT = Path(__file__).parents[2]


def test_names_that_would_leave_the_results_folder_are_refused(registry: Path) -> None:
    with pytest.raises(SegbenchError, match="run"):
        resolve(config(run="../up"), registry)


@pytest.mark.parametrize("key", ["results", "data", "archives", "weights", "mirror"])
def test_home_and_odd_names_in_paths(registry: Path, key: str) -> None:
    assert getattr(resolve(config(**{key: "~/a b"}), registry).config, key) == str(Path.home() / "a b")
    assert getattr(resolve(config(**{key: "it's/ü/"}), registry).config, key) == "it's/ü"
    for wrong in ("a{b}", "a\nb", " ", ""):
        with pytest.raises(SegbenchError, match=f"{key}: a path may not"):
            resolve(config(**{key: wrong}), registry)


def test_addresses_of_a_mirror_stay_as_they_are(registry: Path) -> None:
    assert resolve(config(mirror="https://a.org/~me/x/"), registry).config.mirror == "https://a.org/~me/x/"


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:12"])
def test_devices(registry: Path, device: str) -> None:
    assert resolve(config(device=device), registry).config.device == device


@pytest.mark.parametrize("device", ["gpu", "", "CUDA", "cuda:", "cuda:-1", "cuda:0 ", "mps"])
def test_devices_that_there_are_none_of(registry: Path, device: str) -> None:
    with pytest.raises(SegbenchError, match="device: .*auto, cpu, cuda or cuda:<n>"):
        resolve(config(device=device), registry)


def test_folders_lie_in_the_storage() -> None:
    stored = RunConfig.model_validate(
        {"datasets": [], "models": [], "storage": "/disk", "data": "data", "weights": "/other/weights"}
    )
    assert (stored.results, stored.data, stored.archives, stored.weights) == (
        "/disk/results",
        "/disk/data",
        "/disk/results/archives",
        "/other/weights",
    )
    assert RunConfig(datasets=[], models=[]).data == "results/data"


def test_auto_workers_are_those_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segbench.config.schema.loader_workers", lambda: 5)
    assert RunConfig.model_validate({"datasets": [], "models": [], "workers": "auto"}).workers == 5
    with pytest.raises(ValidationError):
        RunConfig.model_validate({"datasets": [], "models": [], "workers": "many"})
