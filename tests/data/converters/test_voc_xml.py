from __future__ import annotations

import logging
from pathlib import Path

import pytest
from PIL import Image

from segbench.data.converters.voc_xml import convert
from segbench.data.dataset import Sample
from segbench.errors import SegbenchError


def obj(label: str, *corners: object, more: str = "") -> str:
    sides = "".join(f"<{s}>{v}</{s}>" for s, v in zip(("xmin", "ymin", "xmax", "ymax"), corners))
    return f"<object><name>{label}</name><pose>Left</pose>{more}<bndbox>{sides}</bndbox></object>"


def xml(*objects: str, filename: str = "", size: tuple[int, int] = (60, 40)) -> str:
    width, height = size
    head = f"<filename>{filename}</filename><size><width>{width}</width><height>{height}</height></size>"
    return f"<annotation>{head}{''.join(objects)}</annotation>"


CAT = obj("cat", 1, 3, 10, 40)


def image(path: Path, size: tuple[int, int] = (60, 40)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 20, 30)).save(path)


def labelimg(folder: Path, name: str, text: str | None = None) -> Path:
    """Write an image with its XML file beside it."""
    image(folder / f"{name}.jpg")
    path = folder / f"{name}.xml"
    path.write_text(xml(CAT, filename=f"{name}.jpg") if text is None else text)
    return path


def voc(root: Path, lists: dict[str, list[str]], text: str | None = None) -> Path:
    """Write Pascal VOC's folders; return that of the archive."""
    inner = root / "VOCdevkit" / "VOC2007"
    (inner / "ImageSets" / "Main").mkdir(parents=True)
    (inner / "Annotations").mkdir()
    for name in {name for names in lists.values() for name in names}:
        image(inner / "JPEGImages" / f"{name}.jpg")
        (inner / "Annotations" / f"{name}.xml").write_text(text or xml(CAT, filename=f"{name}.jpg"))
    for split, names in lists.items():
        (inner / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{n}\n" for n in names))
    return root


def samples(folder: Path, **options) -> list[Sample]:
    return list(convert({}, {"folder": folder, **options}).samples)


def one(folder: Path, **options) -> Sample:
    (sample,) = samples(folder, **options)
    return sample


def errors(folder: Path, **options) -> str:
    with pytest.raises(SegbenchError) as raised:
        samples(folder, **options)
    return str(raised.value)


def test_coordinates_count_from_1_and_include_the_last_pixel(tmp_path):
    labelimg(tmp_path, "a", xml(CAT, obj("dog", 11, 3, 20.5, 12), obj("dog", 60, 40, 60, 40)))
    boxes = [o["bbox"] for o in one(tmp_path).instances]
    assert boxes == [[0, 2, 10, 38], [10, 2, 10.5, 10], [59, 39, 1, 1]]
    assert [o["category_id"] for o in one(tmp_path).instances] == [1, 2, 2]
    assert not any("segmentation" in o for o in one(tmp_path).instances)


def test_coordinates_that_count_from_0(tmp_path):
    path = labelimg(tmp_path, "a", xml(obj("cat", 0, 3, 10, 40), CAT, obj("cat", 5, 0, 6, 7)))
    text = errors(tmp_path)
    assert f"{path}: object 1 (cat) has the box {{'xmin': '0'" in text and f"{path}: object 3 (cat)" in text
    assert "coordinates are counted from 1" in text and "set `origin: 0`" in text
    assert [o["bbox"] for o in one(tmp_path, origin=0).instances] == [
        [0, 3, 10, 37],
        [1, 3, 9, 37],
        [5, 0, 1, 7],
    ]
    assert one(tmp_path, origin=1).instances[0]["bbox"] == [-1, 2, 11, 38]  # is clipped when written


def test_difficult_objects_are_crowds_and_parts_are_skipped(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part><difficult>0</difficult>"
    labelimg(
        tmp_path,
        "a",
        xml(obj("cat", 1, 1, 5, 5, more="<difficult>1</difficult>"), obj("cat", 2, 2, 3, 3, more=part)),
    )
    assert [o["iscrowd"] for o in one(tmp_path).instances] == [1, 0]


def test_lists_of_pascal_voc_name_the_splits(tmp_path):
    lists = {"train": ["a", "b"], "val": ["c"], "trainval": ["a", "b", "c"], "test": ["d"]}
    converted = convert({"VOCtrainval.tar": voc(tmp_path, lists)}, {})
    assert {s.stem: s.split for s in converted.samples} == {
        "a": "train",
        "b": "train",
        "c": "val",
        "d": "test",
    }
    assert converted.evaluation_split == "test" and converted.boxes
    assert converted.categories[0].isthing


@pytest.mark.parametrize(
    ("lists", "splits"),
    [
        ({"trainval": ["a", "b"], "test": ["c"]}, {"a": "train", "b": "train", "c": "test"}),
        ({"trainval": ["a", "b"], "val": ["b"]}, None),
    ],
)
def test_lists_without_train(tmp_path, lists, splits):
    found = {s.stem: s.split for s in samples(voc(tmp_path, lists))}
    assert found == splits if splits else sorted(found.values()) == ["test", "train"]


def test_mistakes_in_lists(tmp_path):
    root = voc(tmp_path, {"train": ["a", "b"], "val": ["b", "a"]})
    assert "lists 'b', which is also in the split 'train'" in errors(root)
    main = root / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main"
    (main / "val.txt").write_text("c\n../../../d\n")
    assert "leads out of the dataset's folder" in errors(root)
    (main / "val.txt").write_text("c\nd\n")
    text = errors(root)
    assert "Annotations/c.xml: is missing" in text and "Annotations/d.xml: is missing" in text


def test_files_beside_images_in_split_folders(tmp_path):
    for split, name in (("train", "a"), ("train", "b"), ("valid", "x"), ("val", "c")):
        labelimg(tmp_path / split / "more" if name == "b" else tmp_path / split, name)
    found = {s.stem: s.split for s in samples(tmp_path)}
    assert found == {"a": "train", "more_b": "train", "c": "val"}


def test_images_without_annotation_are_skipped_or_empty(tmp_path, caplog):
    labelimg(tmp_path, "a")
    image(tmp_path / "b.jpg")
    with caplog.at_level(logging.WARNING):
        assert [s.stem for s in samples(tmp_path)] == ["a"]
    assert "skipped 1 images without an annotation, such as b.jpg" in caplog.text
    assert [s.instances for s in samples(tmp_path, unannotated="empty")][1] == []


def test_images_are_found_by_the_name_of_the_xml_file_or_the_one_it_states(tmp_path):
    image(tmp_path / "JPEGImages" / "a.jpg")
    image(tmp_path / "JPEGImages" / "B.PNG")
    image(tmp_path / "JPEGImages" / "c.jpg")
    image(tmp_path / "JPEGImages" / "c.png")
    for name, stated in (
        ("a", "renamed.jpg"),
        ("other", "D:\\data\\b.png"),
        ("c", "c.png"),
        ("lost", "no.jpg"),
    ):
        path = tmp_path / "Annotations" / f"{name}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(xml(CAT, filename=stated))
    assert f"{path}: the image 'no.jpg' is not a file inside of {tmp_path}" in errors(tmp_path)
    path.unlink()
    found = {s.stem: s.image.name for s in samples(tmp_path)}
    assert found == {"a": "a.jpg", "other": "B.PNG", "c": "c.png"}


def test_two_files_of_one_image(tmp_path):
    labelimg(tmp_path, "a")
    (tmp_path / "again.xml").write_text(xml(CAT, filename="a.jpg"))
    assert "again.xml: has the image a.jpg, which" in errors(tmp_path)


def test_the_stated_size_must_be_that_of_the_image(write, tmp_path):
    for name in ("a", "b"):
        labelimg(tmp_path / "in", name, xml(CAT, size=(40, 60) if name == "a" else (0, 0)))
    with pytest.raises(SegbenchError, match="was drawn on 40x60 pixels, the image has 60x40"):
        write(convert({}, {"folder": tmp_path / "in"}))


def test_all_mistakes_are_listed(tmp_path):
    broken = {
        "a": (xml(obj("", 1, 2, 3, 4)), "object 1 has an empty label"),
        "b": (xml(CAT, obj("cat", 9, 2, 3, 4)), "object 2 (cat) has the box"),
        "c": (xml(obj("cat", 1, 2, 3)), "object 1 (cat) has a wrong xmin/ymin/xmax/ymax: '' is text"),
        "d": (xml(obj("cat", 1, 2, "1e999", 4)), "object 1 (cat) has the box"),
        "e": (xml("<object><name>cat</name></object>"), "object 1 (cat) has no <bndbox>"),
        "f": ("<annotation><object>", "is not XML"),
        "g": ("<html/>", "is not an annotation, but <html>"),
        "h": (xml(CAT, size=("x", 3)), "states the size x x 3, which is not two numbers"),
        "i": ("", "is not XML"),
    }
    paths = {name: labelimg(tmp_path, name, text) for name, (text, _) in broken.items()}
    found = errors(tmp_path)
    for name, (_, message) in broken.items():
        assert f"{paths[name]}: {message}" in found


def test_labels_outside_of_the_list(tmp_path):
    labelimg(tmp_path, "a", xml(obj("cart", 1, 2, 3, 4)))
    text = errors(tmp_path, labels=["car", "dog"])
    assert "object 1 has the label 'cart', which is not in `labels`" in text and "did you mean 'car'?" in text


def test_a_folder_without_objects(tmp_path):
    labelimg(tmp_path, "a", xml())
    assert "has no object in any .xml file" in errors(tmp_path)


def test_a_dataset_of_boxes(tmp_path, write):
    for k in range(4):
        labelimg(tmp_path / "in", f"i{k}")
    dataset = write(convert({}, {"folder": tmp_path / "in"}))
    assert dataset.info.tasks == ["detection"] and dataset.info.splits == {"test": 1, "train": 3}


def test_groups_stay_in_one_split(tmp_path):
    for name in ("p1_a", "p1_b", "p2_a", "p3_a", "p3_b"):
        labelimg(tmp_path, name)
    found = {s.stem: (s.group, s.split) for s in samples(tmp_path, group=r"(p\d)_", test=["p3*"])}
    assert {k: g for k, (g, _) in found.items()} == {k: k[:2] for k in found}
    assert {k for k, (_, split) in found.items() if split == "test"} == {"p3_a", "p3_b"}
