"""Comparison with panopticapi's converters on its two sample images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from segbench.contract.view import Category
from segbench.data.converters.common import color
from segbench.data.dataset import Converted, Sample, rgb_to_id


def test_panoptic_to_detection_and_to_semantic(mirror: Path, write):
    root = mirror / "panopticapi_sample/sample_data"
    source = json.loads((root / "panoptic_examples.json").read_text())
    number = {c["id"]: n for n, c in enumerate(source["categories"], 1)}
    categories = [  # all are things: panopticapi converts each segment to an object
        Category(id=number[c["id"]], name=c["name"], isthing=True, color=color(number[c["id"]]))
        for c in source["categories"]
    ]

    def samples():
        for a in source["annotations"]:
            ids = rgb_to_id(np.asarray(Image.open(root / "panoptic_examples" / a["file_name"])))
            info = [s | {"category_id": number[s["category_id"]]} for s in a["segments_info"]]
            image = root / "input_images" / f"{Path(a['file_name']).stem}.jpg"
            for split in ("train", "test"):
                yield Sample(split, image.stem, image, panoptic=(ids, info))

    dataset = write(Converted(categories, False, "test", samples(), orientation="stored"))
    split = dataset.split("test")
    image_id = {int(r.stem): r.id for r in split}

    expected = json.loads((root / "panoptic_coco_detection_format.json").read_text())["annotations"]
    found = json.loads(split.instances_json.read_text())["annotations"]

    def key(annotation: dict) -> tuple:
        return annotation["image_id"], annotation["segmentation"]["counts"]

    expected = [
        a | {"image_id": image_id[a["image_id"]], "category_id": number[a["category_id"]]} for a in expected
    ]
    fields = ("image_id", "category_id", "iscrowd", "area", "bbox", "segmentation")
    for a, b in zip(sorted(expected, key=key), sorted(found, key=key), strict=True):
        assert {f: a[f] for f in fields} == {f: b[f] for f in fields}

    for record in split:
        channels = np.asarray(Image.open(root / "panoptic_examples_2ch_format" / f"{record.stem}.png"))
        semantic = split.read_semantic(record.stem)
        classes = channels[..., 0].astype(int)
        assert (semantic == np.vectorize(lambda c: number.get(c, -1))(classes)).all()
