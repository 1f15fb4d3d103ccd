from __future__ import annotations

import re
from pathlib import Path

import pytest

from segbench.config.resolve import resolve
from segbench.config.resolved_run import ResolvedRun
from segbench.errors import SegbenchError
from segbench.jobs.missing import without_missing

ROOT = Path(__file__).parents[2]


def run(folder: Path, datasets: list[str], **more: object) -> ResolvedRun:
    raw = {
        "datasets": datasets,
        "models": ["unet"],
        "data": f"{folder}/data",
        "archives": f"{folder}/archives",
        **more,
    }
    return resolve(raw, ROOT / "config", check_code=False)


def placed(folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()


def test_what_must_be_placed_by_hand_is_named_and_the_rest_stays(tmp_path: Path) -> None:
    found = without_missing(run(tmp_path, ["drive", "camvid", "vessels", "cityscapes"]))
    assert list(found.datasets) == ["camvid", "vessels"]
    assert {cell.dataset for cell in found.cells} == {"camvid", "vessels"}
    drive, cityscapes = map(str, found.missing)
    assert drive.startswith(f"drive: missing: place DRIVE.zip at {tmp_path}/archives/DRIVE.zip (Register at")
    assert "https://drive.grand-challenge.org/" in drive
    assert len(re.findall("place .*?.zip at ", cityscapes)) == 2


@pytest.mark.parametrize("place", ["archives", "mirror"])
def test_an_archive_in_place_is_not_missing(tmp_path: Path, place: str) -> None:
    (tmp_path / "mirror").mkdir()
    placed(tmp_path / place, "DRIVE.zip")
    found = without_missing(run(tmp_path, ["drive", "vessels"], mirror=f"{tmp_path}/mirror"))
    assert list(found.datasets) == ["drive", "vessels"] and found.missing == []


def test_one_of_two_archives_is_not_enough(tmp_path: Path) -> None:
    placed(tmp_path / "archives", "train-volume.tif")
    found = without_missing(run(tmp_path, ["isbi2012", "vessels"]))
    assert [one.dataset for one in found.missing] == ["isbi2012"]
    assert "train-labels.tif at" in str(found.missing[0]) and "train-volume.tif" not in str(found.missing[0])


def test_a_converted_dataset_needs_no_archive(tmp_path: Path) -> None:
    placed(tmp_path / "data" / "drive", "dataset.json")
    assert without_missing(run(tmp_path, ["drive"])).missing == []


def test_nothing_is_asked_of_a_server(tmp_path: Path) -> None:
    assert without_missing(run(tmp_path, ["drive"], mirror="https://example.org/data")).missing == []


def test_a_misspelt_mirror_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(SegbenchError, match="miror does not exist"):
        without_missing(run(tmp_path, ["drive", "vessels"], mirror=f"{tmp_path}/miror"))


def test_a_run_of_missing_datasets_only_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(SegbenchError, match=r"(?s)every dataset.*place DRIVE.zip.*place liver.zip"):
        without_missing(run(tmp_path, ["drive", "liver"]))


def test_what_starts_from_a_missing_dataset_is_skipped(tmp_path: Path) -> None:
    """Directly or through another cell; the reason is in the report."""
    starts = [{"datasets": [d], "recipe": {"init_from": {"dataset": s}}} for d, s in
              (("vessels", "drive"), ("bubbles", "vessels"))]  # fmt: skip
    found = without_missing(run(tmp_path, ["drive", "vessels", "bubbles", "street"], overrides=starts))
    assert {cell.dataset for cell in found.cells if not cell.control} == {"street"}
    assert [str(pair) for pair in found.skipped] == [
        "unet on vessels: starts from unet on drive, which cannot be trained",
        "unet on bubbles: starts from unet on vessels, which cannot be trained",
    ]
