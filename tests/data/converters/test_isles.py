"""The entries of both ISLES sets, on small archives in their layouts: from the archive to scores by case."""

from __future__ import annotations

import csv
import math
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from segbench.config.registry import read_yaml
from segbench.config.schema import DatasetEntry
from segbench.contract.evaluation import EvaluationOptions
from segbench.data.cases import read_slices
from segbench.data.convert import ConvertSpec, convert_dataset
from segbench.data.dataset import Dataset
from segbench.data.images import open_raster
from segbench.data.lint.dataset import lint_dataset
from segbench.evaluation.runner.evaluate import evaluate
from segbench.prediction.controls import run_control

ENTRIES = Path(__file__).parents[3] / "config/datasets"
SHAPE = (8, 6, 4)
AFFINE = np.array([[-2.0, 0, 0, 8], [0, -2.0, 0, 6], [0, 0, 5.0, 0], [0, 0, 0, 1]])
"""Indices count to the left and to the back, as in DICOM."""
OPTIONS = EvaluationOptions(families=("cases",), bootstrap_samples=0)


def lesion(case: int) -> np.ndarray:
    label = np.zeros(SHAPE, np.uint8)
    label[2 : 4 + case % 2, 1:3, 1:3] = 1
    return label


def pack(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for path in sorted(folder.rglob("*")):
            target.write(path, path.relative_to(folder).as_posix())
    return archive


def save(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)


def make_isles2018(folder: Path, cases: int = 4) -> Path:
    rng = np.random.default_rng(0)
    for case in range(1, cases + 1):
        kinds = ("CT", "CT_4DPWI", "CT_CBF", "CT_CBV", "CT_MTT", "CT_Tmax", "OT")
        for number, kind in enumerate(kinds):
            name = f"SMIR.Brain.XX.O.{kind}.{345560 + 10 * case + number}"
            data = rng.integers(-1000, 1000, SHAPE).astype(np.int16)
            if kind == "CT_4DPWI":
                data = np.stack([data] * 3, -1)[:, :, :, None]
            elif kind == "OT":
                data = lesion(case)
            elif kind != "CT":
                data = (100 * number + rng.random(SHAPE)).astype(np.float32)
            save(folder / f"TRAINING/case_{case}/{name}/{name}.nii", data)
    return pack(folder, folder.parent / "ISLES2018_Training.zip")


def make_isles2022(folder: Path, cases: int = 4) -> Path:
    top = folder / "ISLES-2022"
    for case in range(1, cases + 1):
        name = f"sub-strokecase{case:04d}"
        stem = f"{name}_ses-0001"
        dwi = np.random.default_rng(case).random(SHAPE) * 500
        save(top / name / "ses-0001/dwi" / f"{stem}_dwi.nii.gz", dwi)
        save(top / name / "ses-0001/dwi" / f"{stem}_adc.nii.gz", dwi.astype(np.float32) / 2)
        # a ramp from the feet to the head in mm, in sagittal slices of 3 mm
        flair = np.broadcast_to(np.arange(-5.0, 30.0), (9, 20, 35)).transpose(0, 2, 1)
        to_ras = np.array([[3.0, 0, 0, -10], [0, 0, 1, -7], [0, 1, 0, -5], [0, 0, 0, 1]])
        save(top / name / "ses-0001/anat" / f"{stem}_FLAIR.nii.gz", np.ascontiguousarray(flair), to_ras)
        save(top / "derivatives" / name / "ses-0001" / f"{stem}_msk.nii.gz", lesion(case).astype(float))
    (top / "participants.tsv").write_text("participant_id\n")
    return pack(folder, folder.parent / "ISLES-2022.zip")


def convert(name: str, archive: Path, out: Path) -> Dataset:
    entry = DatasetEntry.model_validate(read_yaml(ENTRIES / f"{name}.yaml"))
    assert archive.name in entry.archives
    keys = set(ConvertSpec.model_fields) & set(DatasetEntry.model_fields)
    convert_dataset(name, ConvertSpec(**{key: getattr(entry, key) for key in keys}), [archive], out)
    return Dataset(out)


def scores(dataset: Dataset, control: str, out: Path) -> dict[str, float]:
    predictions = out / "predictions"
    run_control(f"segbench.prediction.controls:{control}", dataset.root, "semantic", 0, predictions)
    evaluate(dataset.root, predictions, out, options=OPTIONS)
    with (out / "scores.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["class"] == "lesion" and r["value"]]
    return {row["metric"]: float(row["value"]) for row in rows}


@pytest.mark.parametrize(
    ("name", "make", "channels"), [("isles2018", make_isles2018, 5), ("isles2022", make_isles2022, 3)]
)
def test_from_the_archive_to_scores_by_case(name, make, channels, tmp_path: Path) -> None:
    dataset = convert(name, make(tmp_path / "made"), tmp_path / name)
    assert dataset.info.splits == {"train": 12, "test": 4} and dataset.info.channels == channels
    assert lint_dataset(dataset.root).errors == []
    places = read_slices(dataset.root / "test")
    assert {(p.slices, p.spacing) for p in places.values()} == {(4, (5.0, 2.0, 2.0))}
    truth = scores(dataset, "Truth", tmp_path / "truth")
    assert (truth["case_dice"], truth["case_hd95"], truth["case_nsd"]) == (1, 0, 1)
    nothing = scores(dataset, "Constant", tmp_path / "constant")
    assert (nothing["case_dice"], nothing["case_nsd"]) == (0, 0)
    assert nothing["case_hd95"] == pytest.approx(math.hypot(3 * 5, 5 * 2, 7 * 2))


def test_isles2018_channels(tmp_path: Path) -> None:
    made = tmp_path / "made"
    dataset = convert("isles2018", make_isles2018(made), tmp_path / "data")
    (path,) = made.glob("TRAINING/case_1/SMIR.Brain.XX.O.CT.*/*.nii")
    ct = np.asarray(nib.load(path).dataobj)
    (split,) = (s for s in map(dataset.split, ("train", "test")) if "case_1_000" in {r.stem for r in s})
    (image,) = (record for record in split if record.stem == "case_1_002")
    values = open_raster(image.path, 5).array
    assert (values[..., 0] == ct[:, :, 2].T).all()  # stored to the left and to the back, as images are shown
    assert [int(values[..., c].min()) for c in range(1, 5)] == [200, 300, 400, 500]
    assert (split.read_semantic("case_1_002") == lesion(1)[:, :, 2].T).all()


def test_isles2022_resamples_flair(tmp_path: Path) -> None:
    dataset = convert("isles2022", make_isles2022(tmp_path / "made"), tmp_path / "data")
    for record in dataset.split("train"):
        place = read_slices(dataset.root / "train")[record.stem]
        values = open_raster(record.path, 3).array
        assert values[..., 2] == pytest.approx(5.0 * place.index, abs=1e-4)
        assert values[..., 1] == pytest.approx(values[..., 0] / 2)
