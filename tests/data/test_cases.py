from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segbench.contract.view import Category
from segbench.data.cases import Slice, read_slices, write_cases
from segbench.data.dataset import Converted, Sample
from segbench.errors import SegbenchError

LESION = [Category(id=1, name="lesion", isthing=False, color=(9, 0, 0))]


@pytest.fixture
def volumes(write, tmp_path: Path):
    """Writes two cases of two slices as a dataset."""
    Image.new("L", (4, 3)).save(tmp_path / "image.png")

    def run(spacing=(5.0, 1.0, 2.0), sliced=True):
        samples = [
            Sample(
                split,
                f"{case}_{i}",
                tmp_path / "image.png",
                semantic=np.ones((3, 4), int),
                slice=Slice(case=case, index=i, slices=2, spacing=spacing) if sliced else None,
            )
            for split, case in (("train", "b"), ("test", "a"))
            for i in (1, 0)
        ]
        return write(Converted(LESION, True, "test", samples, orientation="stored"), channels=1)

    return run


def test_places_of_slices_on_disk(volumes) -> None:
    dataset = volumes()
    expected = {"a": {"slices": 2, "spacing": [5.0, 1.0, 2.0], "images": {"a_0": 0, "a_1": 1}}}
    assert json.loads((dataset.root / "test/cases.json").read_text()) == expected
    assert read_slices(dataset.root / "test") == {
        f"a_{i}": Slice(case="a", index=i, slices=2, spacing=(5.0, 1.0, 2.0)) for i in range(2)
    }


def test_the_digest_covers_the_spacing(volumes) -> None:
    """A change of the spacing alone must repeat the evaluation."""
    assert volumes().info.digest == volumes().info.digest != volumes(spacing=(4.0, 1.0, 2.0)).info.digest


def test_other_images_have_no_such_file(volumes) -> None:
    dataset = volumes(sliced=False)
    assert not (dataset.root / "test/cases.json").exists() and read_slices(dataset.root / "test") == {}


def test_a_slice_twice_is_a_bug(tmp_path: Path) -> None:
    place = Slice(case="b", index=0, slices=2, spacing=(1, 1, 1))
    with pytest.raises(ValueError, match="slice 0 of b occurs twice"):
        write_cases(tmp_path, [("x", place), ("y", place)])


@pytest.mark.parametrize("text", ["[]", '{"a": {"slices": 2, "spacing": [5, 0, 1], "images": {}}}', "{"])
def test_a_damaged_file_is_named(volumes, text: str) -> None:
    folder = volumes().root / "test"
    (folder / "cases.json").write_text(text)
    with pytest.raises(SegbenchError, match="cases.json"):
        read_slices(folder)
