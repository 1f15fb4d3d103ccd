"""Volumes that the tests make, in the layouts of both ISLES sets and as DICOM series."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from segbench.data.converters.volumes import convert
from segbench.errors import SegbenchError

RAS = np.diag([2.0, 3.0, 5.0, 1.0])
SHAPE = (4, 5, 3)
"""Voxels from left to right, from back to front, from feet to head."""


def counted(shape=SHAPE, kind=np.int16) -> np.ndarray:
    """Each voxel has another value."""
    return np.arange(np.prod(shape)).reshape(shape).astype(kind)


def lesion(shape=SHAPE) -> np.ndarray:
    data = np.zeros(shape, np.uint8)
    data[1:3, 2, 1] = 1
    return data


def save(path: Path, data: np.ndarray, affine: np.ndarray = RAS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


OPTIONS = {"channels": {"CT": "{case}/ct.nii"}, "label": "{case}/label.nii", "classes": {1: "lesion"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four cases of one modality."""
    for case in "abcd":
        save(tmp_path / case / "ct.nii", counted())
        save(tmp_path / case / "label.nii", lesion())
    return tmp_path


def run(root: Path, **options):
    """All samples by name."""
    converted = convert({}, {**OPTIONS, "folder": root, **options})
    return {sample.stem: sample for sample in converted.samples}


def faults(root: Path, **options) -> list[str]:
    return [str(fault) for sample in run(root, **options).values() for fault in sample.faults]


def test_slices_are_images_with_values_as_stored(folder: Path) -> None:
    samples = run(folder)
    assert list(samples) == [f"{case}_{i:03d}" for case in "abcd" for i in range(3)]
    one = samples["b_001"]
    assert one.image.shape == (5, 4, 1) and one.image.dtype == np.int16
    data = counted()
    assert one.image[0, 0, 0] == data[3, 4, 1]  # top left: the patient's right and front
    assert one.image[-1, 0, 0] == data[3, 0, 1] and one.image[0, -1, 0] == data[0, 4, 1]
    assert sorted(one.image.ravel()) == sorted(data[:, :, 1].ravel())
    assert np.argwhere(one.semantic).tolist() == [[2, 1], [2, 2]]
    assert (one.group, one.slice.case, one.slice.index, one.slice.slices) == ("b", "b", 1, 3)
    assert one.slice.spacing == (5.0, 3.0, 2.0)
    splits = {s.split for s in samples.values()}
    assert splits == {"train", "test"}
    assert len({s.split for s in samples.values() if s.group == "c"}) == 1


@pytest.mark.parametrize(
    ("axis", "shape", "spacing", "corner"),
    [
        ("axial", (5, 4), (5.0, 3.0, 2.0), (3, 4, 0)),
        ("coronal", (3, 4), (3.0, 5.0, 2.0), (3, 0, 2)),
        ("sagittal", (3, 5), (2.0, 5.0, 3.0), (0, 4, 2)),
    ],
)
def test_axes(folder: Path, axis, shape, spacing, corner) -> None:
    """The top left pixel of the first slice is at the patient's right or front, and front or head."""
    one = run(folder, axis=axis)["a_000"]
    assert one.image.shape == (*shape, 1) and one.slice.spacing == spacing
    assert one.image[0, 0, 0] == counted()[corner]


@pytest.mark.parametrize("codes", ["LPS", "SAR", "PIL"])
def test_the_order_of_storage_does_not_matter(folder: Path, codes: str) -> None:
    expected = {name: (s.image, s.semantic, s.slice) for name, s in run(folder).items()}
    turn = nib.orientations.axcodes2ornt(tuple(codes))
    path = folder / "a/ct.nii"
    image = nib.Nifti1Image(counted(), RAS)
    nib.save(image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(RAS), turn)), path)
    assert nib.aff2axcodes(nib.load(path).affine) == tuple(codes)
    for name, sample in run(folder).items():
        assert not sample.faults
        image, semantic, place = expected[name]
        assert (sample.image == image).all() and (sample.semantic == semantic).all()
        assert sample.slice == place


def test_neighbours_are_further_channels(folder: Path) -> None:
    for case in "abcd":
        save(folder / case / "cbf.nii", 1000 + counted())
    options = {"channels": {"CT": "{case}/ct.nii", "CBF": "{case}/cbf.nii"}, "neighbours": 1}
    samples = run(folder, **options)
    first, middle, last = (samples[f"a_{i:03d}"].image[0, 0] for i in range(3))
    at = [int(counted()[3, 4, k]) for k in range(3)]
    assert middle.tolist() == [at[0], 1000 + at[0], at[1], 1000 + at[1], at[2], 1000 + at[2]]
    assert first.tolist() == [at[0], 1000 + at[0], at[0], 1000 + at[0], at[1], 1000 + at[1]]
    assert last[::2].tolist() == [at[1], at[2], at[2]]


def test_empty_slices_are_skipped_in_training_only(folder: Path) -> None:
    samples = run(folder, empty="skip", test=["d"])
    assert list(samples) == ["a_001", "b_001", "c_001", "d_000", "d_001", "d_002"]


def test_values_are_scaled_as_the_header_says(folder: Path) -> None:
    path = folder / "a/ct.nii"
    data = path.read_bytes()
    for slope, intercept, kind in ((1, -1024, np.int16), (2, 40000, np.uint16), (0.5, 0, np.float32)):
        path.write_bytes(data[:112] + np.array([slope, intercept], "<f4").tobytes() + data[120:])
        image = run(folder)["a_000"].image
        assert image.dtype == kind and image[0, 0, 0] == slope * float(counted()[3, 4, 0]) + intercept


@pytest.mark.parametrize(
    ("stored", "kept"),
    [(np.uint8, np.int16), (np.uint16, np.int16), (np.float64, np.float32), (np.int32, np.int16)],
)
def test_types(folder: Path, stored, kept) -> None:
    save(folder / "a/ct.nii", counted(kind=stored))
    image = run(folder)["a_002"].image
    assert image.dtype == kept and image[0, 0, 0] == counted()[3, 4, 2]


def test_large_values(folder: Path) -> None:
    save(folder / "a/ct.nii", counted(kind=np.uint16) + 60000)
    save(folder / "b/ct.nii", counted(kind=np.int32) + 70000)
    samples = run(folder)
    assert samples["a_000"].image.dtype == np.uint16 and samples["b_000"].image.dtype == np.float32
    assert samples["b_000"].image[0, 0, 0] == int(counted()[3, 4, 0]) + 70000


def test_classes_and_void(folder: Path) -> None:
    label = lesion()
    label[0, 0, 1], label[0, 1, 1], label[0, 2, 1] = 4, 7, 9
    for case in "abcd":
        save(folder / case / "label.nii", label.astype(np.float32))
    converted = convert(
        {}, {**OPTIONS, "folder": folder, "classes": {1: "core", 7: "edema", 4: "core"}, "void": [9]}
    )
    assert [c.name for c in converted.categories] == ["core", "edema"] and converted.background
    ids = next(s for s in converted.samples if s.stem == "a_001").semantic
    assert ids[:, 3].tolist() == [0, 0, -1, 2, 1]  # the patient's left column, from front to back


def test_folders_are_splits(tmp_path: Path) -> None:
    for split, case in (("TRAINING", "a"), ("TRAINING", "b"), ("test", "c")):
        save(tmp_path / split / case / "ct.nii", counted())
        save(tmp_path / split / case / "label.nii", lesion())
    options = {"channels": {"CT": "{split}/{case}/ct.nii"}, "label": "{split}/{case}/label.nii"}
    samples = run(tmp_path, splits={"TRAINING": "train"}, **options)
    assert {s.group: s.split for s in samples.values()} == {"a": "train", "b": "train", "c": "test"}
    with pytest.raises(SegbenchError, match=r"options.splits: the folders TRAINING are not splits"):
        run(tmp_path, **options)


def test_resampling(folder: Path) -> None:
    """A ramp over the place in mm, on a coarser, shifted grid, is the same ramp on the label's grid."""
    affine = np.array([[1.5, 0, 0, -1], [0, 2, 0, -2], [0, 0, 10, -5], [0, 0, 0, 1]])
    index = np.stack(np.meshgrid(*map(np.arange, (8, 9, 4)), indexing="ij"), -1)
    place = index @ affine[:3, :3].T + affine[:3, 3]
    save(folder / "a/ct.nii", (place @ [1.0, 10.0, 100.0]).astype(np.float32), affine)
    (fault,) = faults(folder)
    assert "ct.nii: has 8x9x4 voxels, label.nii has 4x5x3" in fault and "resample: true" in fault
    image = run(folder, resample=True)["a_001"].image
    assert image.dtype == np.float32
    for row, column in np.ndindex(5, 4):
        x, y, z = 2.0 * (3 - column), 3.0 * (4 - row), 5.0
        assert image[row, column, 0] == pytest.approx(x + 10 * y + 100 * z, rel=1e-5)


def test_voxels_that_are_not_finite(folder: Path, caplog) -> None:
    data = counted(kind=np.float32) + 5
    data[:, :, 0], data[0, 0, 1], data[1, 1, 1] = np.nan, np.inf, -np.inf
    save(folder / "a/ct.nii", data)
    samples = run(folder)
    lowest = data[np.isfinite(data)].min()
    assert (samples["a_000"].image == lowest).all()
    assert samples["a_001"].image[-1, -1, 0] == lowest and samples["a_001"].image[0, 0, 0] == data[3, 4, 1]
    assert f"a/ct.nii: 22 voxels that are not finite become {lowest:g}" in caplog.text
    save(folder / "a/ct.nii", data * np.nan)
    assert "has no finite value" in faults(folder)[0]
    label = lesion().astype(np.float32)
    label[0, 0, 0] = np.nan
    save(folder / "a/ct.nii", counted())
    save(folder / "a/label.nii", label)
    assert "has values that are no class: nan (1 voxels)" in faults(folder)[0]


def test_all_mistakes_at_once(folder: Path) -> None:
    (folder / "a/ct.nii").unlink()
    (folder / "b/label.nii").unlink()
    label = lesion()
    label[0, 0, :2] = 3
    save(folder / "c/label.nii", label)
    moved = RAS.copy()
    moved[0, 3] = 4
    save(folder / "d/ct.nii", counted(), moved)
    found = faults(folder)
    assert len(found) == 4
    assert "case a: has no CT: nothing matches '{case}/ct.nii'" in found[0]
    assert "case b: has no label" in found[1]
    assert "c/label.nii: has values that are no class: 3 (2 voxels)" in found[2]
    assert "d/ct.nii: lies elsewhere than label.nii: their corners are up to 4 mm apart" in found[3]
    assert faults(folder, exclude=["[abc]"], compare_affines=False) == []
    assert all("exclude" in fault or "compare_affines" in fault or "classes" in fault for fault in found)


def broken(path: Path, kind: str) -> None:
    data = path.read_bytes()
    match kind:
        case "text":
            path.write_text("this is no volume")
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            path.write_bytes(data[:-20])
        case "4D":
            save(path, np.zeros((*SHAPE, 2), np.int16))
        case "2D":
            save(path, np.zeros(SHAPE[:2], np.int16))
        case "colours":
            save(path, np.zeros(SHAPE, [(c, "u1") for c in "RGB"]))
        case "large":
            path.write_bytes(data[:42] + np.array([30000] * 3, "<i2").tobytes() + data[48:])
        case "offset":
            path.write_bytes(data[:108] + np.array([1e12], "<f4").tobytes() + data[112:])
        case "spacing":
            affine = np.diag([2.0, 0, 5]).astype("<f4")  # rows of the sform, whose code is at byte 254
            rows = np.hstack([affine, np.zeros((3, 1), "<f4")]).tobytes()
            path.write_bytes(
                data[:252] + np.array([0, 1], "<i2").tobytes() + data[256:280] + rows + data[328:]
            )
        case "sheared":
            save(path, counted(), np.array([[2, 0, 2, 0], [0, 3, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1.0]]))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("text", "is damaged, or is not a NIfTI file (it has no header of NIfTI)"),
        ("empty", "is damaged, or is not a NIfTI file"),
        ("truncated", "is damaged, or is not a NIfTI file"),
        ("4D", "has 4 dimensions (4x5x3x2), so it is a series of volumes"),
        ("2D", "has 2 dimensions (4x5), so it is not a volume"),
        ("colours", "which are not numbers"),
        ("large", "has 30000x30000x30000 voxels; up to 500000000 are allowed"),
        ("offset", "its voxels begin at byte 1e+12"),
        ("spacing", "mm, so sizes are not known"),
        ("sheared", "has axes that are not perpendicular"),
    ],
)
def test_broken_files(folder: Path, kind: str, message: str) -> None:
    broken(folder / "a/ct.nii", kind)
    (fault,) = faults(folder)
    assert fault.startswith(str(folder / "a/ct.nii")) and message in fault and "remedy" in fault


def test_a_last_dimension_of_one_is_no_series(folder: Path) -> None:
    save(folder / "a/ct.nii", counted()[..., None])
    assert run(folder)["a_000"].image.shape == (5, 4, 1)


def test_a_gzip_bomb_is_not_unpacked(folder: Path) -> None:
    """The header claims what the limit forbids, or the stream goes on after the last voxel."""
    data = (folder / "a/ct.nii").read_bytes()
    options = {"channels": {"CT": "{case}/ct.nii*"}}
    (folder / "a/ct.nii").unlink()
    claims = data[:42] + np.array([3000] * 3, "<i2").tobytes() + data[48:]
    (folder / "a/ct.nii.gz").write_bytes(gzip.compress(claims))
    (fault,) = faults(folder, **options)
    assert "has 3000x3000x3000 voxels" in fault and "max_voxels: 27000000000" in fault
    (folder / "a/ct.nii.gz").write_bytes(gzip.compress(data) + gzip.compress(bytes(100_000)))
    assert faults(folder, **options) == []


def test_units_of_the_header(folder: Path) -> None:
    image = nib.Nifti1Image(counted(), np.diag([0.002, 0.003, 0.005, 1.0]))
    image.header.set_xyzt_units("meter")
    nib.save(image, folder / "a/ct.nii")
    assert faults(folder) == []
    data = bytearray((folder / "b/ct.nii").read_bytes())
    data[123] = 0xC8 | 2  # millimetres, and a code of time that does not exist
    (folder / "b/ct.nii").write_bytes(data)
    assert faults(folder) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "label.nii"}, "options.label: 'label.nii' lacks {case}"),
        ({"label": "../{case}.nii"}, "is not a path below the dataset's folder"),
        ({"label": "{case}/{name}.nii"}, "{name} is not a field\n  remedy: write {case} or {split}"),
        ({"label": "{split}/{case}.nii"}, "{split} must be in the patterns of all channels"),
        ({"channels": {}}, "at least 1"),
        ({"classes": {0: "background"}}, "0 is the background"),
        ({"classes": {1: "a"}, "void": [1]}, "1 is in `classes` and in `void`"),
        ({"channels": {"CT": "{case}/xyz.nii"}, "label": "{case}/xyz.nii"}, "no file matches the patterns"),
        ({"exclude": ["*"]}, "all cases are excluded"),
        ({"folder": "/nowhere"}, "/nowhere: is missing"),
    ],
)
def test_wrong_options(folder: Path, options, message: str) -> None:
    with pytest.raises(SegbenchError) as error:
        run(folder, **options)
    assert message in str(error.value)


def test_several_files_for_one_modality(folder: Path) -> None:
    save(folder / "a/ct2.nii", counted())
    (fault,) = faults(folder, channels={"CT": "{case}/ct*.nii"})
    assert "case a: has 2 files for CT (ct.nii, ct2.nii)" in fault and "matches one of them" in fault


def test_a_missing_package_is_named(folder: Path, monkeypatch) -> None:
    def refuse(name: str):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("importlib.import_module", refuse)
    assert "needs the package 'nibabel' (extra 'volumes')" in faults(folder)[0]
    assert "pip install 'segbench[volumes]'" in faults(folder)[0]


def test_a_pattern_finds_a_case_twice_in_a_path(tmp_path: Path) -> None:
    """The second {case} is the same text; folders before are matched by `**/`."""
    for top in ("", "x/y/"):
        save(tmp_path / top / "sub-1/sub-1_ct.nii", counted())
        save(tmp_path / top / "sub-1/sub-2_ct.nii", counted())
        save(tmp_path / top / "sub-1/sub-1_label.nii", lesion())
    (fault,) = faults(tmp_path, channels={"CT": "**/{case}/{case}_ct.nii"}, label="{case}/{case}_label.nii")
    assert "has 2 files for CT (sub-1_ct.nii, sub-1_ct.nii)" in fault
