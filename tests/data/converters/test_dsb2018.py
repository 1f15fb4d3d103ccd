from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from loaded import loading

from segbench.data.coco import masks
from segbench.data.converters.dsb2018 import convert as unread
from segbench.errors import SegbenchError

convert = loading(unread)


@pytest.mark.slow
def test_mirror(archives, write):
    dataset = write(convert(archives, {}))
    info = dataset.info
    assert info.splits == {"test": 18, "train": 72}
    assert (info.tasks, info.derived) == (["semantic", "detection", "instance"], ["semantic", "detection"])
    assert info.max_instances == 369
    annotations = 0
    for name in info.splits:
        split = dataset.split(name)
        found = json.loads(split.instances_json.read_text())["annotations"]
        annotations += len(found)
        ids = split.read_semantic(split.images[0].stem)
        union = np.sum([masks.decode(a["segmentation"]) for a in found if a["image_id"] == 1], axis=0)
        assert union.max() == 1, "objects overlap"
        assert (union == ids).all()
    assert annotations == 4379


def test_overlap_goes_to_the_smaller_nucleus(tmp_path: Path, save):
    large, small = np.zeros((8, 8)), np.zeros((8, 8))
    large[0:6, 0:6] = small[4:8, 4:8] = 255
    save(tmp_path / "x/images/x.png")
    save(tmp_path / "x/masks/a.png", small)
    save(tmp_path / "x/masks/b.png", large)
    (sample,) = convert({"stage1_train.zip": tmp_path}, {}).samples
    areas = [masks.area(i["segmentation"]) for i in sample.instances]
    assert areas == [36 - 4, 16]
    assert (masks.decode(sample.instances[1]["segmentation"]) == (small > 0)).all()


def test_split_is_fixed_and_without_order(tmp_path: Path, save):
    for i in range(20):
        save(tmp_path / f"{i:02d}/images/{i:02d}.png")
        (tmp_path / f"{i:02d}/masks").mkdir()
    samples = list(convert({"stage1_train.zip": tmp_path}, {}).samples)
    assert [s.stem for s in samples if s.split == "test"] == ["03", "07", "08", "09"]
    assert all(s.instances == [] for s in samples)


def test_mask_of_another_size(tmp_path: Path, save):
    save(tmp_path / "x/images/x.png")
    save(tmp_path / "x/masks/a.png", np.zeros((4, 8)))
    with pytest.raises(SegbenchError, match=r"a\.png: has 8x4 pixels, its image has 8x8"):
        list(convert({"stage1_train.zip": tmp_path}, {}).samples)
