from __future__ import annotations

import json
import shutil

import pytest

from segbench.data.dataset import Dataset
from segbench.data.loading.selection import images_with_objects
from segbench.errors import SegbenchError


@pytest.fixture
def emptied(shapes, tmp_path):
    """The first image has a crowd only, the third nothing."""
    root = tmp_path / "shapes"
    shutil.copytree(shapes, root)

    def keep(wanted) -> Dataset:
        path = root / "train" / "instances.json"
        content = json.loads(path.read_text())
        content["annotations"] = [a for a in content["annotations"] if wanted(a)]
        path.write_text(json.dumps(content))
        return Dataset(root)

    return keep


def test_images_with_crowds_only_are_empty(emptied) -> None:
    dataset = emptied(lambda a: a["image_id"] != 3 and (a["image_id"] != 1 or a["iscrowd"]))
    split = dataset.split("train")
    assert images_with_objects(split, dataset.view("instance")) == [1, *range(3, 12)]
    assert images_with_objects(split, dataset.view("semantic")) == list(range(12))


def test_no_image_with_objects(emptied) -> None:
    dataset = emptied(lambda a: a["iscrowd"])
    with pytest.raises(SegbenchError, match="(?s)no image has objects.*skip_empty: false"):
        images_with_objects(dataset.split("train"), dataset.view("instance"))
