"""Entries of three converters from small archives in upstream's layout to the table, in one run."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from bad_input.sources import zipped
from PIL import Image
from tiny_project import make_project
from warm_server import WarmServer

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pipeline")]

RNG = np.random.default_rng(0)


def saved(array: np.ndarray, form: str, **options: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, form, **options)
    return file.getvalue()


def polyps() -> Iterator[tuple[str, bytes]]:
    """A photograph and a grey mask each; a quarter of each image is a polyp."""
    for name in "abcde":
        mask = np.zeros((16, 16), np.uint8)
        mask[4:12, 4:12] = 255
        yield f"Kvasir-SEG/images/{name}.jpg", saved(RNG.integers(0, 256, (16, 16, 3), np.uint8), "JPEG")
        yield f"Kvasir-SEG/masks/{name}.jpg", saved(mask, "JPEG", quality=100)


def cells() -> Iterator[tuple[str, bytes]]:
    """Two sequences of two frames, with two cells each: half of each image."""
    truth = np.zeros((16, 16), np.uint16)
    truth[:, :4], truth[:, 8:12] = 5, 300
    for sequence in ("01", "02"):
        for frame in ("000", "001"):
            image = saved(RNG.integers(0, 256, (16, 16), np.uint8), "TIFF")
            yield f"PhC-C2DH-U373/{sequence}/t{frame}.tif", image
            yield f"PhC-C2DH-U373/{sequence}_ST/SEG/man_seg{frame}.tif", saved(truth, "TIFF")


def lesions() -> Iterator[tuple[str, bytes]]:
    """Four cases of four slices; a quarter of each volume is a lesion."""
    for case in range(1, 5):
        name = f"sub-strokecase{case:04d}"
        label = np.zeros((8, 8, 4))
        label[:4, :4] = 1
        volumes = {
            f"{name}/ses-0001/dwi/{name}_ses-0001_{kind}": RNG.random((8, 8, 4)) for kind in ("dwi", "adc")
        }
        volumes[f"{name}/ses-0001/anat/{name}_ses-0001_FLAIR"] = RNG.random((8, 8, 4))
        volumes[f"derivatives/{name}/ses-0001/{name}_ses-0001_msk"] = label
        for path, data in volumes.items():
            image = nib.Nifti1Image(data, np.eye(4))
            yield f"ISLES-2022/{path}.nii.gz", gzip.compress(image.to_bytes(), 1)


def test_from_archives_to_the_table(tmp_path: Path, warm: WarmServer) -> None:
    project = make_project(tmp_path / "project", warm)
    mirror, sums = tmp_path / "mirror", []
    mirror.mkdir()
    for name, members in (
        ("kvasir-seg.zip", polyps()),
        ("PhC-C2DH-U373.zip", cells()),
        ("ISLES-2022.zip", lesions()),
    ):
        content = zipped(dict(members))
        (mirror / name).write_bytes(content)
        sums.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
    (mirror / "SHA256SUMS").write_text("".join(sums))
    project.config(
        run="entries",
        mirror=str(mirror),
        datasets=["kvasir_seg", "phc_u373", "isles2022"],
        models=["classical_otsu"],
        controls=["control_constant", "control_truth"],
        dataset_options={},
        overrides=[],
    )
    result = project.snakemake("results/entries/summary/scores.csv")
    assert result.returncode == 0, result.stdout + result.stderr
    rows = pd.read_csv(project.root / "results/entries/summary/scores.csv")
    assert set(rows["model"][~rows["control"]]) == {"classical_otsu"}  # ranked, without a training
    rows = rows[rows["class"].isna()].set_index(["model", "dataset", "task", "metric"])["value"]
    background = {"kvasir_seg": 0.75, "phc_u373": 0.5, "isles2022": 0.75}
    for dataset, share in background.items():
        assert rows["control_truth", dataset, "semantic", "miou"] == 1
        assert 0 < rows["classical_otsu", dataset, "semantic", "miou"] < 1
        assert rows["control_constant", dataset, "semantic", "miou"] == pytest.approx(share / 2)
    assert rows["control_truth", "phc_u373", "instance", "ap"] == 1
    assert rows["control_truth", "isles2022", "semantic", "case_dice"] == 1
    assert rows["control_constant", "isles2022", "semantic", "case_dice"] == 0
