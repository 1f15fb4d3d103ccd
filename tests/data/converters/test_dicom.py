"""DICOM series that the tests write, read alone and as a case of the converter `volumes`."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, generate_uid

from segbench.data.converters.dicom import read_dicom
from segbench.data.converters.volume import canonical
from segbench.data.converters.volumes import convert
from segbench.errors import SegbenchError

SHAPE = 5, 4, 3
"""Columns (patient's right to left), rows (front to back), slices (feet to head)."""
VALUES = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.int16)
SERIES = generate_uid()


def write(folder: Path, index: int, **tags) -> Path:
    """Write a slice of 2 mm columns and 3 mm rows, 5 mm from the next one."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = tags.pop("syntax", ExplicitVRLittleEndian)
    path = folder / f"{(index * 7) % 5}_{index}.dcm"  # the order of names is not that of the slices
    dataset = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    values = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "SeriesInstanceUID": SERIES,
        "SeriesDescription": "CT head",
        "Modality": "CT",
        "Rows": SHAPE[1],
        "Columns": SHAPE[0],
        "PixelSpacing": [3.0, 2.0],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [10.0, -20.0, 100.0 + 5.0 * index],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "PixelData": VALUES[:, :, min(index, 2)].T.tobytes(),
    }
    for name, value in {**values, **tags}.items():
        if value is not None:
            setattr(dataset, name, value)
    folder.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def series(tmp_path: Path) -> Path:
    for index in range(SHAPE[2]):
        write(tmp_path / "ct", index)
    return tmp_path / "ct"


def read(folder: Path):
    return canonical(read_dicom(folder, 10**6))


def fault(folder: Path) -> str:
    with pytest.raises(SegbenchError) as error:
        read(folder)
    assert error.value.remedy
    return str(error.value)


def test_hounsfield_units_and_places(series: Path) -> None:
    volume = read(series)
    assert volume.data.dtype == np.int16 and volume.spacing.tolist() == [2, 3, 5]
    # RAS: columns and rows count the other way
    assert (volume.data == VALUES[::-1, ::-1] - 1024).all()
    # the first voxel is the last column and row: 10 + 4 * 2 mm to the left, -20 + 3 * 3 mm to the back
    assert volume.affine[:3, 3].tolist() == [-18, 11, 100]


def test_without_rescaling_tags(tmp_path: Path) -> None:
    for index in range(3):
        write(tmp_path / "mr", index, RescaleSlope=None, RescaleIntercept=None)
    assert (read(tmp_path / "mr").data == VALUES[::-1, ::-1]).all()


def test_a_slope_for_each_slice(tmp_path: Path) -> None:
    """As in PET. The values are fractions, so they are floats."""
    for index in range(3):
        write(tmp_path / "pt", index, RescaleSlope=0.5 * (index + 1), RescaleIntercept=0)
    volume = read(tmp_path / "pt")
    assert volume.data.dtype == np.float32
    assert (volume.data == VALUES[::-1, ::-1] * np.array([0.5, 1.0, 1.5])).all()


def test_other_files_are_ignored(series: Path) -> None:
    (series / "README.txt").write_text("about this series")
    (series / "DICOMDIR").write_bytes(b"index")
    assert read(series).data.shape == SHAPE


def test_missing_slices(tmp_path: Path) -> None:
    for index in (0, 1, 2, 5, 6):
        write(tmp_path / "ct", index)
    assert "lacks 2 slices: 110 and 125 mm are neighbours, others are 5 mm apart" in fault(tmp_path / "ct")


def test_unequal_distances(series: Path) -> None:
    for index, height in ((3, 115.0), (4, 123.0)):
        write(series, index, ImagePositionPatient=[10, -20, height])
    assert "unequally spaced: 8 mm at 115 mm, else 5 mm" in fault(series)


def test_repeated_slices(series: Path) -> None:
    write(series, 3, ImagePositionPatient=[10, -20, 105.0])
    assert "has several slices at one place (105 mm along their normal)" in fault(series)


def test_two_series(series: Path) -> None:
    write(series, 3, SeriesInstanceUID=generate_uid(), SeriesDescription="scout")
    text = fault(series)
    assert "contains 2 series: " in text and "'CT head' (3 files)" in text and "'scout' (1 files)" in text


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"ImagePositionPatient": None}, "has no ImagePositionPatient"),
        ({"NumberOfFrames": 4}, "holds 4 frames in one file"),
        ({"SamplesPerPixel": 3}, "is a colour image"),
        (
            {"PixelSpacing": [3.0, 2.5]},
            "has PixelSpacing [3.0, 2.5], another slice of the series has [3.0, 2.0]",
        ),
        (
            {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]},
            "has ImageOrientationPatient [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]",
        ),
        ({"PixelData": b"\0\0"}, "is damaged, or cannot be read as DICOM"),
        ({"syntax": DeflatedExplicitVRLittleEndian}, "a deflated file"),
    ],
)
def test_slices_that_do_not_fit(series: Path, tags, message: str) -> None:
    path = write(series, 3, **tags)
    text = fault(series)
    assert message in text and text.startswith(str(path))


def test_a_damaged_number(series: Path) -> None:
    """pydicom decodes a tag only when it is used."""
    path = write(series, 3)
    path.write_bytes(path.read_bytes().replace(b"115.0", b"1x5.0"))
    assert fault(series).startswith(f"{path}: is damaged, or cannot be read as DICOM")


def test_a_tilted_gantry(tmp_path: Path) -> None:
    for index in range(3):
        write(tmp_path / "ct", index, ImagePositionPatient=[0, 2.0 * index, 5.0 * index])
    assert "not perpendicular, as with a tilted gantry" in fault(tmp_path / "ct")


def test_too_large(series: Path) -> None:
    with pytest.raises(SegbenchError, match="has 5x4x3 voxels; up to 59 are allowed"):
        read_dicom(series, 59)


def test_damaged_and_empty_folders(series: Path, tmp_path: Path) -> None:
    (series / "x.dcm").write_bytes(b"no DICOM")
    assert "x.dcm: is damaged, or cannot be read as DICOM" in fault(series)
    (tmp_path / "none").mkdir()
    assert "contains no DICOM files" in fault(tmp_path / "none")


def test_a_single_slice_has_its_thickness(tmp_path: Path) -> None:
    write(tmp_path / "ct", 0, SliceThickness=4.0)
    assert read(tmp_path / "ct").spacing.tolist() == [2, 3, 4]


def test_a_series_with_a_nifti_label(tmp_path: Path) -> None:
    """Slices of a series and its label meet, though DICOM counts to the left and NIfTI to the right."""
    for case in "ab":
        for index in range(3):
            write(tmp_path / case / "series", index)
        label = np.zeros(SHAPE, np.uint8)
        label[4, 0, 1] = 1  # RAS: the patient's right, back
        affine = np.array([[2.0, 0, 0, -18], [0, 3, 0, 11], [0, 0, 5, 100], [0, 0, 0, 1]])
        nib.save(nib.Nifti1Image(label, affine), tmp_path / case / "label.nii.gz")
    options = {"channels": {"CT": "{case}/series"}, "label": "{case}/label.nii.gz", "classes": {1: "lesion"}}
    samples = list(convert({}, {**options, "folder": tmp_path}).samples)
    assert [s.stem for s in samples] == [f"{case}_{i:03d}" for case in "ab" for i in range(3)]
    for index, sample in enumerate(samples[:3]):
        assert not sample.faults
        assert (sample.image[..., 0] == VALUES[:, :, index].T - 1024).all()  # as DICOM viewers show it
    assert np.argwhere(samples[1].semantic).tolist() == [[3, 0]]
    (fault,) = next(
        s.faults
        for s in convert(
            {}, {**options, "channels": {"CT": "{case}/series/*.dcm"}, "folder": tmp_path}
        ).samples
    )
    assert "has 3 files for CT" in str(fault) and "the folder of the series" in str(fault)


def test_the_files_are_dicom(series: Path) -> None:
    """pydicom reads the same values."""
    first = min(series.iterdir(), key=lambda p: float(pydicom.dcmread(p).ImagePositionPatient[2]))
    assert (pydicom.dcmread(first).pixel_array == VALUES[:, :, 0].T).all()
