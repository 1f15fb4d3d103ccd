from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segbench.data.coco import index as module
from segbench.data.coco.index import AnnotationIndex, index_path
from segbench.data.writing.listing import json_file
from segbench.errors import SegbenchError

polygon = st.lists(st.floats(-9, 99), min_size=6, max_size=12).map(lambda points: [points])
rle = st.builds(
    lambda counts: {"size": [4, 5], "counts": counts}, st.text(st.characters(codec="ascii"), max_size=9)
)
annotation = st.fixed_dictionaries(
    {"category_id": st.integers(1, 90), "iscrowd": st.integers(0, 1), "segmentation": polygon | rle}
)
images = st.lists(st.lists(annotation, max_size=4), max_size=6)


def write(path: Path, objects: list[list[dict]]) -> dict[int, list[dict]]:
    """Write a file in COCO's format with its index. Return its annotations by image."""
    with json_file(path, []) as file:
        for image_id, found in enumerate(objects, 1):
            file.images.add(json.dumps({"id": image_id, "file_name": f"größe {image_id}.png"}).encode())
            for one in found:
                file.add_annotation(image_id, json.dumps({"image_id": image_id} | one).encode())
    written = json.loads(path.read_text())["annotations"]
    return {i: [a for a in written if a["image_id"] == i] for i in range(1, len(objects) + 1)}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(objects=images)
def test_it_has_the_content_of_the_file(tmp_path: Path, monkeypatch, objects: list[list[dict]]) -> None:
    path = tmp_path / "instances.json"
    expected = write(path, objects)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_scanned", None)  # the whole file is not read
        index = AnnotationIndex(path)
    assert {i: index[i] for i in expected} == expected
    assert index[len(objects) + 1] == [] and index[0] == []
    again = pickle.loads(pickle.dumps(index))
    assert {i: again[i] for i in expected} == expected


def test_it_stays_small(tmp_path: Path) -> None:
    """24 bytes for each image, in the file and for a loader process, whatever the number of objects."""
    one = {"category_id": 1, "iscrowd": 0, "segmentation": [[0.25] * 400]}
    write(tmp_path / "instances.json", [[one] * 20] * 50)
    assert (tmp_path / "instances.json").stat().st_size > 1e6
    assert index_path(tmp_path / "instances.json").stat().st_size < 50 * 24 + 2000
    assert len(pickle.dumps(AnnotationIndex(tmp_path / "instances.json"))) < 50 * 24 + 2000


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: index_path(path).unlink(), "there is no index"),
        (lambda path: index_path(path).write_bytes(b"PK\3\4 no"), "its index is not readable"),
        (lambda path: index_path(path).write_bytes(b""), "its index is not readable"),
        (
            lambda path: path.write_text(path.read_text().replace('"category_id": 7', '"category_id": 8')),
            "its index belongs to another content",
        ),
        (
            lambda path: path.write_text(json.dumps(json.loads(path.read_text()), indent=1)),
            "its index belongs to another content",
        ),
    ],
)
def test_without_a_fitting_index_the_file_itself_is_read(tmp_path: Path, caplog, spoil, message: str) -> None:
    path = tmp_path / "instances.json"
    one = {"category_id": 7, "iscrowd": 0, "segmentation": [[1.5, 2, 3, 4, 5, 6]]}
    write(path, [[one], [], [one, one]])
    spoil(path)
    now = json.loads(path.read_text())["annotations"]
    with caplog.at_level(logging.INFO):
        index = AnnotationIndex(path)
    assert f"{path}: {message}" in caplog.text
    assert [index[i] for i in (1, 2, 3)] == [now[:1], [], now[1:]]


def test_annotations_of_an_image_may_be_apart(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.write_text(json.dumps({"annotations": [{"id": i, "image_id": i % 2 + 5} for i in range(6)]}))
    index = AnnotationIndex(path)
    assert [a["id"] for a in index[5]] == [0, 2, 4] and [a["id"] for a in index[6]] == [1, 3, 5]


def test_a_file_that_is_replaced_while_in_use_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    one = {"category_id": 7, "iscrowd": 0, "segmentation": [[1.5, 2, 3, 4, 5, 6]]}
    write(path, [[one], [one]])
    index = AnnotationIndex(path)
    write(path, [[], [one], [one]])
    with pytest.raises(SegbenchError, match="annotations of image 1 are not where its index says") as error:
        index[1]
    assert error.value.where == path and "remove instances.index.npz" in str(error.value.remedy)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SegbenchError, match=r"instances\.json: cannot be read"):
        AnnotationIndex(tmp_path / "instances.json")
