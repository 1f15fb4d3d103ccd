from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from loaded import loading
from PIL import Image

from segbench.data.converters.cityscapes import IMAGES, TRUTHS
from segbench.data.converters.cityscapes import convert as unread
from segbench.errors import SegbenchError

convert = loading(unread)

TRAIN_IDS = {  # of the official table: label -> trainId
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13,
    27: 14, 28: 15, 31: 16, 32: 17, 33: 18,
}  # fmt: skip
THINGS = ["person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"]


@pytest.fixture
def frame(tmp_path: Path, save):
    """Write a frame; `ids` None: without its truth, `image` False: without its image."""

    def run(name: str, ids: np.ndarray | None, split: str = "train", image: bool = True) -> None:
        for folder in (f"{IMAGES}/leftImg8bit", f"{TRUTHS}/gtFine"):
            (tmp_path / folder / split / "ulm").mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / "val").mkdir(exist_ok=True)
        if image:
            save(tmp_path / f"{IMAGES}/leftImg8bit/{split}/ulm/{name}_leftImg8bit.png")
        if ids is not None:
            path = tmp_path / f"{TRUTHS}/gtFine/{split}/ulm/{name}_gtFine_instanceIds.png"
            Image.fromarray(ids.astype(np.uint16)).save(path)

    return run


@pytest.fixture
def archives(tmp_path: Path) -> dict[str, Path]:
    return {name: tmp_path / name for name in (IMAGES, TRUTHS)}


def test_classes_and_labels_are_those_of_the_official_table(frame, archives):
    labels = np.arange(64).reshape(8, 8) % 34
    frame("ulm_000001_000019", labels)
    converted = convert(archives, {})
    (sample,) = converted.samples
    expected = np.vectorize(lambda k: TRAIN_IDS.get(k, -2) + 1)(labels)
    assert (sample.semantic == expected).all()
    assert [c.name for c in converted.categories if c.isthing] == THINGS
    assert converted.categories[13].color == (0, 0, 142) and not converted.background
    assert sample.group == "ulm"
    segments, info = sample.panoptic
    assert {(s["category_id"], s["iscrowd"]) for s in info} == {(k, int(k > 11)) for k in range(1, 20)}
    assert ((segments == 0) == (expected == -1)).all()


def test_mistakes_of_all_frames_are_listed(frame, archives, write):
    frame("a", np.full((8, 8), 34))
    frame("b", np.full((8, 8), 24001))
    frame("c", None)
    frame("d", np.full((8, 8), 7), image=False)
    frame("e", np.full((4, 8), 7))
    with pytest.raises(SegbenchError) as caught:
        write(unread(archives, {}))
    message = str(caught.value)
    assert message.startswith("4 errors")
    for part in (
        "a_gtFine_instanceIds.png: value 34 at x=0, y=0 is no label (0 to 33)",
        f"c_leftImg8bit.png: has no _gtFine_instanceIds.png in {TRUTHS}",
        f"d_gtFine_instanceIds.png: has no _leftImg8bit.png in {IMAGES}",
        "e_gtFine_instanceIds.png: the semantic mask has 8x4 pixels, the image has 8x8",
    ):
        assert part in message


def test_broken_truth_is_named(frame, archives, write, tmp_path):
    frame("a", np.full((8, 8), 7))
    path = tmp_path / f"{TRUTHS}/gtFine/train/ulm/a_gtFine_instanceIds.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(SegbenchError, match=r"a_gtFine_instanceIds\.png: is not a readable image"):
        write(unread(archives, {}))
