from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from segbench.config.resolve import resolve
from segbench.config.resolved_run import ResolvedRun
from segbench.errors import SegbenchError
from segbench.jobs import disk

ROOT = Path(__file__).parents[2]
Usage = namedtuple("Usage", "total used free")


def run(folder: Path, datasets: list[str], **more: object) -> ResolvedRun:
    raw = {"datasets": datasets, "models": ["unet"], "controls": [], "storage": str(folder), **more}
    return resolve(raw, ROOT / "config", check_code=False)


def parts(run: ResolvedRun) -> dict[str, float]:
    (found,) = disk.needs(run).disks
    return found.parts


def test_archives_count_once_and_all_of_them_if_they_are_kept(tmp_path: Path) -> None:
    found = parts(run(tmp_path, ["coco2017", "coco_voc21"]))
    coco = 19.4 + 0.82 + 0.26 + 0.87
    assert found["archives"] == pytest.approx(coco * 1e9)
    assert found["datasets"] == pytest.approx(1.15e9 * (coco + coco - 0.87))
    assert found["conversions"] == pytest.approx(0.15e9 * (coco + coco - 0.87))


def test_one_dataset_at_a_time_if_archives_go(tmp_path: Path) -> None:
    found = parts(run(tmp_path, ["coco2017", "coco_voc21", "voc2012"], keep_archives=False))
    assert found["archives one dataset at a time"] == pytest.approx(21.35e9)
    assert found["the largest conversion"] == pytest.approx(0.15 * 21.35e9)


def test_archives_at_hand_count_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "VOCtrainval_11-May-2012.tar").write_bytes(bytes(1000))
    found = parts(run(tmp_path, ["voc2012"], mirror=f"{tmp_path}/mirror"))
    assert (found["archives"], found["datasets"]) == (1000, pytest.approx(1150))
    (tmp_path / "results/archives").mkdir(parents=True)
    shutil.move(tmp_path / "mirror" / "VOCtrainval_11-May-2012.tar", tmp_path / "results/archives")
    assert parts(run(tmp_path, ["voc2012"]))["archives"] == 0


def test_what_is_there_needs_nothing_more(tmp_path: Path) -> None:
    before = parts(run(tmp_path, ["voc2012"]))
    (tmp_path / "results/data/voc2012").mkdir(parents=True)
    (tmp_path / "results/data/voc2012/dataset.json").touch()
    cell = tmp_path / "results/default/cells/voc2012/unet/seed0"
    cell.mkdir(parents=True)
    (cell / "scores.csv").write_bytes(bytes(500))
    assert before["cells"] == pytest.approx(4 * 7_763_701 + 0.1e6 * 1449)
    after = parts(run(tmp_path, ["voc2012"], seeds=[0, 1]))
    assert (after["datasets"], after["archives"], after["cells"]) == (0, 0, 500), "one more like the first"


def test_work_that_was_begun_is_not_asked_for_again(tmp_path: Path) -> None:
    """A run that filled most of the disk and was killed must be able to go on."""
    data, archives = tmp_path / "results/data", tmp_path / "results/archives"
    for folder in (archives, data / "voc2012", data / ".unfinished/voc2012.work/key"):
        folder.mkdir(parents=True)
    with (archives / "VOCtrainval_11-May-2012.tar").open("wb") as file:
        file.truncate(2 * 10**9)
    with (data / ".unfinished/voc2012.work/key/images").open("wb") as file:
        file.truncate(2 * 10**9)
    (data / "voc2012/images").hardlink_to(data / ".unfinished/voc2012.work/key/images")
    found = parts(run(tmp_path, ["voc2012"], keep_archives=False))
    assert found["archives one dataset at a time"] == 0
    assert found["datasets"] + found["the largest conversion"] == pytest.approx((1.3 - 1) * 2e9)
    cell = tmp_path / "results/default/cells/voc2012/unet/seed0"
    cell.mkdir(parents=True)
    for name, size in (("checkpoint.pt", 100_000_000), ("model.pt", 31_000_000)):
        with (cell / name).open("wb") as file:
            file.truncate(size)
    after = parts(run(tmp_path, ["voc2012"], keep_archives=False))
    assert found["cells"] - after["cells"] == pytest.approx(31e6)
    assert found["a checkpoint"] - after["a checkpoint"] == pytest.approx(100e6)


def test_archives_of_unknown_size_are_named(tmp_path: Path) -> None:
    found = disk.needs(run(tmp_path, ["liver", "voc2012"]))
    assert found.unknown == ["liver.zip"]
    assert list(found.lines())[1] == "  without archives of unknown size: liver.zip"


def test_a_run_that_does_not_fit_says_so_with_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = run(tmp_path, ["coco2017"])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(50 * 10**9, 0, 48 * 10**9))
    with pytest.raises(SegbenchError, match=r"49\.8 GB more at the peak.* 48 GB are free.*archives 21\.4 GB"):
        disk.check(large)
    disk.check(run(tmp_path, ["coco2017"], check_disk=False))
    disk.check(run(tmp_path, ["voc2012"]))
