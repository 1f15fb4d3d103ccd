from __future__ import annotations

import re

import numpy as np
from loaded import loading
from pycocotools.coco import COCO

from segbench.data.converters.penn_fudan import convert as unread

convert = loading(unread)


def test_mirror(archives, write):
    dataset = write(convert(archives, {}))
    assert dataset.info.splits == {"test": 10, "train": 30}
    assert dataset.info.tasks == ["semantic", "detection", "instance"]
    pedestrians = 0
    for name in dataset.info.splits:
        split = dataset.split(name)
        coco = COCO(split.instances_json)
        for record in split:
            found = coco.loadAnns(coco.getAnnIds(record.id))
            pedestrians += len(found)
            text = (archives["PennFudanPed.zip"] / f"PennFudanPed/Annotation/{record.stem}.txt").read_text()
            boxes = re.findall(r"\(Xmax, Ymax\) : \((\d+), (\d+)\) - \((\d+), (\d+)\)", text)
            stated = np.array(boxes, int)  # counts from 1, both corners included
            x, y, w, h = np.array([a["bbox"] for a in found]).T
            written = np.stack([x + 1, y + 1, x + w, y + h], axis=1)
            assert np.abs(written - stated).max() <= 3  # some published boxes are a little wider
            union = np.any([coco.annToMask(a) for a in found], axis=0)
            assert (split.read_semantic(record.stem) == union).all()
    assert pedestrians == 113
