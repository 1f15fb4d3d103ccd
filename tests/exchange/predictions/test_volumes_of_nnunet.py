"""Predicted volumes of nnU-Net, whose slices are the images of a dataset."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from outlined import Scored

from segbench.data.converters.volumes import convert
from segbench.data.dataset import Dataset
from segbench.errors import SegbenchError
from segbench.files import write_json

AFFINE = np.array([[0, 0, -2.0, 9], [3, 0, 0, -7], [0, 5, 0, 4], [0, 0, 0, 1]])
"""The axes of the files lead to the front, up and to the left."""
LABELS = {"background": 0, "core": 2, "lesion": 1}


def save(path: Path, data: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(nib.Nifti1Image(data, AFFINE).to_bytes(), 1))


@pytest.fixture
def volumes(tmp_path: Path, write: Callable[..., Dataset]) -> Callable[[str], Dataset]:
    """Four cases with random labels, and predictions of nnU-Net that are these labels under other numbers."""
    rng = np.random.default_rng(0)
    for case in "abcd":
        label = rng.integers(0, 3, (6, 5, 4)).astype(np.uint8)
        save(tmp_path / f"data/{case}/ct.nii.gz", rng.integers(0, 99, label.shape).astype(np.int16))
        save(tmp_path / f"data/{case}/label.nii.gz", label)
        save(tmp_path / f"all/{case}.nii.gz", np.array([0, 2, 1], np.uint8)[label])

    def run(axis: str) -> Dataset:
        options = {
            "folder": tmp_path / "data",
            "channels": {"CT": "{case}/ct.nii.gz"},
            "label": "{case}/label.nii.gz",
            "classes": {1: "core", 2: "lesion"},
            "axis": axis,
        }
        dataset = write(convert({}, options), 1, axis)
        (tmp_path / "predicted").mkdir()
        write_json(tmp_path / "predicted/dataset.json", {"labels": LABELS, "file_ending": ".nii.gz"})
        for case in {record.stem[0] for record in dataset.split("test")}:
            (tmp_path / f"all/{case}.nii.gz").rename(tmp_path / f"predicted/{case}.nii.gz")
        return dataset

    return run


@pytest.mark.parametrize("axis", ["axial", "coronal"])
def test_slices_of_the_predicted_volumes(
    tmp_path: Path, volumes: Callable[[str], Dataset], scored: Scored, axis: str
) -> None:
    dataset = volumes(axis)
    scores = scored(dataset.root, tmp_path / "predicted", "nnunet", "semantic", axis=axis)
    assert scores["semantic", "miou"] == 1


def test_another_axis_is_an_error(tmp_path: Path, volumes: Callable[[str], Dataset], scored: Scored) -> None:
    with pytest.raises(SegbenchError, match=r"set `external\.axis`"):
        scored(volumes("coronal").root, tmp_path / "predicted", "nnunet", "semantic")
