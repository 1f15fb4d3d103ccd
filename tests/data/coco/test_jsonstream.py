from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segbench.data.coco import jsonstream
from segbench.data.coco.jsonstream import Records, scan, scan_results
from segbench.errors import SegbenchError

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.text(max_size=5), values, max_size=4), st.integers(1, 40), st.sampled_from([None, 2])
)
def test_finds_every_value_at_its_place(tmp_path, monkeypatch, document, chunk, indent):
    monkeypatch.setattr(jsonstream, "_CHUNK", chunk)
    path = tmp_path / "x.json"
    path.write_text(json.dumps(document, indent=indent, ensure_ascii=False), encoding="utf-8")
    data = path.read_bytes()
    found: dict = {}
    for key, value, start, stop in scan(path):
        assert value == json.loads(data[start:stop])
        found.setdefault(key, []).append(value)
    expected = {k: v if isinstance(v, list) else [v] for k, v in document.items() if v != []}
    assert found == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_records(tmp_path, encoding):
    path = tmp_path / "panoptic.json"
    records = [{"image_id": i, "file_name": f"ü{i}.png", "segments_info": [{"id": i}]} for i in (7, 3, 5)]
    path.write_text(
        json.dumps({"annotations": records, "categories": [{"id": 1, "name": "straße"}]}, ensure_ascii=False),
        encoding=encoding,
    )
    found = Records(path)
    assert list(found) == [3, 5, 7] and len(found) == 3
    assert [found[i] for i in (7, 3, 5)] == records
    assert 5 in found and 4 not in found and 9 not in found
    assert found.categories == [{"id": 1, "name": "straße"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "the top level is not an object"),
        ('{"annotations": [{"image_id": 1}', "is not valid JSON"),
        ('{"annotations": [{"image_id": 1}, {"image_id', "is not valid JSON"),
        ('{"annotations": [{"id": 1}]}', "annotation 1 has no image_id"),
        ('{"annotations": [{"image_id": 1}, {"image_id": 1}]}', "image 1 is annotated twice"),
        ("", "the top level is not an object"),
        ('{"annotations": [{"image_id": "1"}]}', 'annotation 1: image_id is "1", not a whole number'),
        ('{"annotations": [{"image_id": 1.5}]}', "annotation 1: image_id is 1.5, not a whole number"),
        ('{"annotations": [{"image_id": null}]}', "annotation 1 has no image_id"),
        ('{"images": [{"id": "1"}]}', 'image 1: id is "1", not a whole number'),
        ('{"images": [{"id": 1, "file_name": "ä"}, {"id": 1}]}', 'image id 1 is listed twice: "ä" and null'),
        ('{"annotations": [7]}', "annotation 1 has no image_id"),
    ],
)
def test_files_that_are_broken(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(SegbenchError, match=rf"x.json: .*{message}"):
        Records(tmp_path / "x.json")


def test_no_file(tmp_path):
    with pytest.raises(SegbenchError, match=r"x.json: cannot be read \(No such file or directory\)"):
        Records(tmp_path / "x.json")


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_results_are_read_one_by_one(tmp_path, monkeypatch, wrapped, chunk):
    monkeypatch.setattr(jsonstream, "_CHUNK", chunk)
    results = [
        {"image_id": i, "segmentation": {"counts": 'a]\\"b', "size": [3, 4]}, "bbox": []} for i in range(5)
    ]
    path = tmp_path / "results.json"
    path.write_text(
        json.dumps({"info": [1], "annotations": results, "x": {}} if wrapped else results, indent=1)
    )
    assert list(scan_results(path)) == results


@pytest.mark.parametrize("text", ["[{}", "[{},", "7", "", "[1 2", '{"annotations": [{}'])
def test_broken_results_are_refused(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(SegbenchError, match="not valid JSON"):
        print(list(scan_results(tmp_path / "results.json")))
