from __future__ import annotations

import base64
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segbench.data.converters.labelme import convert
from segbench.data.images import read_label_map
from segbench.errors import SegbenchError

BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera stores an upright image, by EXIF orientation."""
SQUARE = [[0, 0], [4, 0], [4, 4], [0, 4]]


def shape(label: str, points=SQUARE, kind: str | None = "polygon", group=None, **more) -> dict:
    return {"label": label, "points": points, "shape_type": kind, "group_id": group, **more}


def write_one(folder: Path, name: str, *shapes: dict, **more) -> Path:
    """Write a 16 x 12 image and its labelme file."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 12), (10, 20, 30)).save(folder / f"{name}.png")
    content = {"shapes": list(shapes), "imagePath": f"{name}.png", "imageData": None} | more
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content))
    return path


def one(folder: Path, **options):
    (sample,) = convert({}, {"folder": folder, **options}).samples
    return sample


def test_mirror_fruits_and_droplets(archives, write):
    fruits = write(convert({"fruits.zip": archives["fruits.zip"]}, {}), name="fruits")
    assert [c.name for c in fruits.info.categories] == ["date", "fig", "hazelnut"]
    assert fruits.info.splits == {"test": 3, "train": 9}
    assert fruits.info.tasks == ["semantic", "detection", "instance"]
    objects = [
        a
        for s in fruits.info.splits
        for a in json.loads(fruits.split(s).instances_json.read_text())["annotations"]
    ]
    assert np.bincount([a["category_id"] for a in objects]).tolist() == [0, 44, 31, 36]

    options = {"labels": ["bubble"], "test": ["video1image200", "video6image[23]00"]}
    droplets = write(convert({"bubbles.zip": archives["bubbles.zip"]}, options), name="droplets")
    assert droplets.info.splits == {"test": 3, "train": 20}
    counts = [
        len(json.loads(droplets.split(s).instances_json.read_text())["annotations"])
        for s in ("train", "test")
    ]
    assert sum(counts) == 420
    assert [r.stem for r in droplets.split("test")] == ["video1image200", "video6image200", "video6image300"]


def test_labelmes_own_exports_are_reproduced(mirror: Path):
    source = mirror / "labelme_voc3"
    labels = (source / "labels.txt").read_text().split("\n")
    export = json.loads((source / "data_dataset_coco/annotations.json").read_text())
    image_id = {Path(i["file_name"]).stem: i["id"] for i in export["images"]}
    samples = list(convert({}, {"folder": source / "data_annotated", "labels": labels}).samples)
    assert len(samples) == 3
    for sample in samples:
        folder = source / "data_dataset_voc"
        classes = read_label_map(folder / f"SegmentationClass/{sample.stem}.png").astype(int)
        differs = np.where(sample.semantic == -1, 255, sample.semantic) != classes
        assert differs.sum() <= 1  # one pixel, which an older Pillow drew differently

        objects = read_label_map(folder / f"SegmentationObject/{sample.stem}.png")
        stated = [a for a in export["annotations"] if a["image_id"] == image_id[sample.stem]]
        numbers = np.setdiff1d(objects, 0)  # ascending in the order of the shapes; ignored ones have none
        for k, found, exported in zip(numbers, sample.instances, stated, strict=True):
            mask = found["segmentation"]
            assert found["category_id"] == exported["category_id"]
            assert mask.sum() == exported["area"]
            y, x = np.nonzero(mask)
            box = [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
            assert box == exported["bbox"]
            assert mask[
                (objects == k) & ~differs
            ].all()  # the export shows the part that no later shape covers


def test_shapes(tmp_path: Path, caplog):
    part = Image.fromarray(np.array([[0, 1], [1, 1]], np.uint8))
    file = io.BytesIO()
    part.save(file, "PNG")
    text = base64.b64encode(file.getvalue()).decode()
    write_one(
        tmp_path,
        "a",
        shape("old", kind=None),
        shape("rectangle", [[9, 7], [5, 1]], "rectangle"),
        shape("circle", [[8, 6], [8, 11]], "circle"),
        shape("mask", [[14, 10], [15, 11]], "mask", mask=text),
        shape("line", [[0, 0], [5, 5]], "linestrip"),
        shape("point", [[1, 1]], "point"),
    )
    sample = one(tmp_path)
    areas = [i["segmentation"].sum() for i in sample.instances]
    assert areas[0] == 25  # including the outline
    assert areas[1] == 5 * 7
    assert areas[2] == pytest.approx(math.pi * 5.5**2, rel=0.05)
    assert areas[3] == 3
    assert not sample.instances[3]["segmentation"][10, 14]
    assert "skipped 1 shapes of type 'linestrip'" in caplog.text
    assert "skipped 1 shapes of type 'point'" in caplog.text


def test_group_id_joins_shapes_of_one_label(tmp_path: Path):
    far = [[8, 8], [10, 8], [10, 10], [8, 10]]
    write_one(
        tmp_path, "a", shape("x", group=1), shape("x", far, group=1), shape("x", group=2), shape("y", group=1)
    )
    objects = one(tmp_path).instances
    assert [o["category_id"] for o in objects] == [1, 1, 2]
    assert objects[0]["segmentation"].sum() == 25 + 9


def test_ignore_background_and_order_of_painting(tmp_path: Path):
    strip = [[0, 0], [16, 0], [16, 2], [0, 2]]
    corner = [[0, 0], [1, 0], [1, 1], [0, 1]]
    line = [[0, 4], [4, 4], [0, 4]]
    shapes = [shape("x"), shape("__ignore__", strip), shape("y", corner), shape("_background_", line)]
    write_one(tmp_path, "a", *shapes)
    sample = one(tmp_path)
    assert sample.semantic[:, 0].tolist() == [2, 2, -1, 1] + [0] * 8
    assert [o["category_id"] for o in sample.instances] == [1, 2]
    assert sample.instances[0]["segmentation"].sum() == 25  # its whole shape


def test_semantic_task_has_no_objects(tmp_path: Path, write):
    for name in "abcd":
        write_one(tmp_path / "own", name, shape("soil"))
    info = write(convert({}, {"folder": tmp_path / "own", "task": "semantic"})).info
    assert (info.tasks, info.derived) == (["semantic"], [])
    assert not info.categories[0].isthing


def encoded(size=(16, 12), format="JPEG", exif: Image.Exif | None = None) -> str:
    file = io.BytesIO()
    Image.new("RGB", size, (200, 0, 0)).save(file, format, **({"exif": exif} if exif else {}))
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize(
    "name", ["gone.png", "C:\\photos\\gone.png", "../../secret.png", "/secret.png", None, ""]
)
def test_embedded_image_replaces_a_missing_one(tmp_path: Path, name):
    folder = tmp_path / "own"
    write_one(folder, "a", shape("x"), imagePath=name, imageData=encoded())
    Image.new("RGB", (16, 12)).save(tmp_path / "secret.png")
    sample = one(folder)
    assert sample.image == base64.b64decode(encoded()) and sample.suffix == ".jpeg"


def test_image_file_goes_before_the_embedded_one(tmp_path: Path):
    write_one(tmp_path, "a", shape("x"), imageData=encoded())
    assert one(tmp_path).image == tmp_path / "a.png"


def test_windows_path_to_another_subfolder(tmp_path: Path):
    write_one(tmp_path / "json", "a", shape("x"), imagePath="..\\images\\a.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "json/a.png").rename(tmp_path / "images/a.png")
    sample = one(tmp_path)
    assert sample.image.resolve() == (tmp_path / "images/a.png").resolve()
    assert sample.stem == "json_a"


@pytest.mark.parametrize("embedded", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_stored_upright(tmp_path: Path, write, orientation: int, embedded: bool):
    """The shape outlines the bright part, as labelme shows it."""
    bright = np.zeros((12, 16), np.uint8)
    bright[1:4, 2:9] = 200
    shown = Image.fromarray(bright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = shown if orientation == 1 else shown.transpose(BACK[orientation])
    file = io.BytesIO()
    stored.save(file, "PNG", exif=exif)
    square = shape("x", [[2, 1], [8, 3]], "rectangle")
    for name in "ab":
        more = {"imagePath": "", "imageData": base64.b64encode(file.getvalue()).decode()} if embedded else {}
        write_one(tmp_path / "own", name, square, imageWidth=16, imageHeight=12, **more)
        (tmp_path / "own" / f"{name}.png").write_bytes(file.getvalue())
    split = write(convert({}, {"folder": tmp_path / "own"})).split("train")
    (record,) = split.images
    assert (split.read_image(record)[:, :, 0] == bright).all()
    assert ((split.read_semantic(record.stem) == 1) == (bright > 0)).all()
    assert Image.open(record.path).getexif().get(0x0112, 1) == 1


def test_a_size_that_fits_only_the_stored_image_is_explained(tmp_path: Path, write):
    exif = Image.Exif()
    exif[0x0112] = 6
    write_one(tmp_path, "a", shape("x"), imageWidth=16, imageHeight=12)
    Image.new("RGB", (16, 12)).save(tmp_path / "a.png", exif=exif)
    with pytest.raises(SegbenchError, match="has 12x16 as viewers show it; it fits only as"):
        write(convert({}, {"folder": tmp_path}))


def test_split_folders(tmp_path: Path):
    for split in ("train", "val", "test"):
        write_one(tmp_path / "set" / split / "sub", "a", shape("x"))
    converted = convert({"set.zip": tmp_path}, {})
    assert converted.evaluation_split == "test"
    assert [(s.split, s.stem) for s in converted.samples] == [(s, "sub_a") for s in ("train", "val", "test")]


def test_groups_of_given_and_own_splits(tmp_path: Path):
    for split in ("train", "test"):
        for name in ("p1_a", f"p{len(split)}_b"):
            write_one(tmp_path / "given" / split, name, shape("x"))
    converted = convert({}, {"folder": tmp_path / "given", "group": r"p\d"})
    assert [(s.stem, s.group) for s in converted.samples] == [
        ("p1_a", "p1"), ("p5_b", "p5"), ("p1_a", "p1"), ("p4_b", "p4"),
    ]  # fmt: skip
    assert converted.division == "given"
    for n in range(8):
        write_one(tmp_path / "own", f"{n}", shape("x"))
    rows = "".join(f"{n}.png,p{n // 2}\n" for n in range(8))
    (tmp_path / "own" / "cases.csv").write_text(f"image,patient\n{rows}")
    options = {"folder": tmp_path / "own", "group": {"file": "cases.csv", "column": "patient"}}
    converted = convert({}, options)
    splits: dict[str, set[str]] = {}
    for sample in converted.samples:
        splits.setdefault(sample.group, set()).add(sample.split)
    assert sorted(splits) == ["p0", "p1", "p2", "p3"] and all(len(s) == 1 for s in splits.values())
    assert converted.division == "own"


def test_fraction_and_patterns(tmp_path: Path):
    for i in range(8):
        write_one(tmp_path, f"v{i // 4}_{i}", shape("x"))

    def test_stems(**options) -> list[str]:
        samples = convert({}, {"folder": tmp_path, **options}).samples
        return [s.stem for s in samples if s.split == "test"]

    assert len(test_stems()) == 2 and test_stems() == test_stems()
    assert len(test_stems(test_fraction=0.5)) == 4
    assert test_stems(test=["v1_*"]) == ["v1_4", "v1_5", "v1_6", "v1_7"]


def test_other_json_files_are_passed_over(tmp_path: Path, caplog):
    write_one(tmp_path, "a", shape("x"))
    (tmp_path / "annotations.json").write_text('{"images": []}')
    assert one(tmp_path).stem == "a"
    assert "annotations.json: skipped, it is not a labelme file" in caplog.text


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ({"imagePath": "../../secret.png"}, {}, "is not a file inside of"),
        ({"imagePath": "gone.png"}, {}, "'gone.png' is not a file inside of"),
        ({"imagePath": "", "imageData": "%%%"}, {}, "imageData: not valid base64"),
        ({"imagePath": "", "imageData": "aGVsbG8="}, {}, "imageData: is not a readable image"),
        ({"imageHeight": 99}, {}, "was drawn on 16x99 pixels, the image has 16x12"),
        ({}, {"labels": ["y", "xx"]}, r"label 'x' is not in the class list[\s\S]*did you mean 'xx'"),
        (
            {"shapes": [shape("x", [[0, 0], [1, float("nan")], [2, 2]])]},
            {},
            r"shape 1 \(x\): .* not a finite number",
        ),
        ({"shapes": [shape("x", [[0, 0], [1e9, 0], [2, 2]])]}, {}, "far outside"),
        ({"shapes": [shape("x", "abc")]}, {}, "shape 1"),
        ({"shapes": [shape("x", [[0, 0]], "circle")]}, {}, "shape 1"),
        (
            {"shapes": [shape("x", [[15, 11], [16, 12]], "mask", mask=encoded((2, 2), "PNG"))]},
            {},
            "exceeds the image",
        ),
        ({"shapes": [shape("x", kind="mask", mask="aGVsbG8=")]}, {}, "is not a readable image"),
        ({"shapes": [shape("x", kind="mask")]}, {}, "shape 1"),
        ({"shapes": [{"points": SQUARE}]}, {}, "shape 1 has no label"),
        ({"shapes": []}, {}, "no labelled shape"),
        ({}, {"lables": ["x"]}, "did you mean 'labels'"),
        ({}, {"test_fraction": 2}, r"options\.test_fraction"),
        ({}, {"folder": "no/such/folder"}, "no/such/folder: is missing"),
    ],
)
def test_faults_name_file_and_remedy(tmp_path: Path, write, content, options, message: str):
    folder = tmp_path / "own"
    write_one(folder, "a", shape("x"), **content)
    Image.new("RGB", (16, 12)).save(tmp_path / "secret.png")
    with pytest.raises(SegbenchError, match=message) as error:
        write(convert({}, {"folder": folder, **options}))
    assert error.value.where and error.value.remedy


def stems(folder: Path, **options) -> list[str]:
    return sorted(s.stem for s in convert({}, {"folder": folder, **options}).samples)


def test_other_encodings(tmp_path: Path):
    path = write_one(tmp_path, "a", shape("细胞核"))
    text = json.dumps(json.loads(path.read_text()), ensure_ascii=False)
    path.write_text(text, encoding="gbk")
    with pytest.raises(SegbenchError, match=r"a\.json: is not text in UTF-8, perhaps gbk.*\n.*`encoding`"):
        one(tmp_path)
    assert [c.name for c in convert({}, {"folder": tmp_path, "encoding": "GBK"}).categories] == ["细胞核"]
    with pytest.raises(SegbenchError, match=r"options\.encoding"):
        one(tmp_path, encoding="klingon")
    path.write_text(text, encoding="utf-8-sig")
    assert one(tmp_path).stem == "a"


@pytest.mark.parametrize("name", ["..\\images\\a.png", "C:\\x\\a.png", "/home/x/a.png", "A.PNG", "../a.png"])
def test_the_image_of_that_name_beside_the_file(tmp_path: Path, name: str):
    write_one(tmp_path / "own", "a", shape("x"), imagePath=name)
    Image.new("RGB", (99, 99)).save(tmp_path / "a.png")  # outside of the folder
    assert one(tmp_path / "own").image == tmp_path / "own" / "a.png"


def test_images_without_an_annotation(tmp_path: Path, write, caplog):
    for name in "abcd":
        write_one(tmp_path / "own", name, shape("x"))
    for name in ("c", "d"):
        (tmp_path / "own" / f"{name}.json").unlink()
    assert stems(tmp_path / "own") == ["a", "b"]
    assert "skipped 2 images without an annotation, such as c.png" in caplog.text
    assert stems(tmp_path / "own", unannotated="empty") == ["a", "b", "c", "d"]
    dataset = write(convert({}, {"folder": tmp_path / "own", "unannotated": "empty", "test": ["d"]}))
    test = dataset.split("test")
    assert (test.read_semantic("d") == 0).all()
    assert json.loads(test.instances_json.read_text())["annotations"] == []


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (3, r"shape 1 has the label 3 \(a number\), which must be text"),
        (True, r"shape 1 has the label True \(true or false\)"),
        (["x"], r"shape 1 has the label \['x'\] \(a list\)"),
        (None, "shape 1 has no label"),
        ("", r"shape 1 has an empty label \(''\)"),
        ("  ", "shape 1 has an empty label"),
    ],
)
def test_labels_that_are_no_names(tmp_path: Path, label: object, message: str):
    write_one(tmp_path, "a", shape("x") | {"label": label})
    with pytest.raises(SegbenchError, match=message) as error:
        one(tmp_path)
    assert error.value.where == tmp_path / "a.json" and error.value.remedy


def test_all_files_with_faults_are_listed(tmp_path: Path, write):
    far = [[5000, 10], [5010, 10], [5010, 20]]
    outside = [[-9, 1], [-2, 1], [-2, 8]]
    write_one(tmp_path, "a", shape("x"), shape("x", far), shape("x", outside))
    write_one(tmp_path, "b", shape("x"))
    write_one(tmp_path, "c", shape("x", outside))
    write_one(tmp_path, "d", shape("x"), imagePath="gone.png")
    with pytest.raises(SegbenchError, match="4 errors") as error:
        write(convert({}, {"folder": tmp_path, "test": ["b"]}))
    lines = str(error.value).splitlines()
    assert lines[1].startswith(f"  {tmp_path}/a.json: shape 2 (x): polygon coordinate 5000")
    where = "lies outside of the image (16x12): x -9 to -2, y 1 to 8"
    assert lines[2] == f"  {tmp_path}/a.json: shape 3 (x): {where}"
    assert lines[3].startswith(f"  {tmp_path}/c.json: shape 1 (x): lies outside")
    assert lines[4].startswith(f"  {tmp_path}/d.json: the image 'gone.png' is not a file inside of")


@pytest.mark.parametrize("kind", ["rotation", "oriented_rectangle", "rectangle", "quadrilateral"])
def test_turned_rectangles(tmp_path: Path, kind: str):
    corners = [[5, 1], [9, 5], [5, 9], [1, 5]]
    write_one(tmp_path, "a", shape("x", corners, kind, direction=0.78))
    write_one(tmp_path, "b", shape("x", corners))
    turned, polygon = convert({}, {"folder": tmp_path}).samples
    assert turned.instances[0]["segmentation"].sum() == 41
    assert (turned.semantic == polygon.semantic).all()


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (shape("x", [[0, 0], [4, 0], [4, 4]], "rectangle"), "a rectangle of 3 points"),
        (shape("x", [[0, 0], [4, 0]]), "a polygon of 2 points"),
        (shape("x", []), "a polygon of 0 points"),
        (shape("x", SQUARE, "cuboid"), "shapes of type 'cuboid' are not known"),
        (shape("x", [[0, 0], [4, None], [4, 4]]), "None is null, not a number"),
        (shape("x", [[0, 0], [4, "b"], [4, 4]]), "'b' is text, not a number"),
        ({"label": "x"}, "lacks 'points'"),
    ],
)
def test_malformed_shapes(tmp_path: Path, write, broken: dict, message: str):
    write_one(tmp_path, "a", shape("x"), broken)
    with pytest.raises(SegbenchError, match=rf"a\.json: shape 2 \(x\): {message}"):
        write(convert({}, {"folder": tmp_path}))


def test_numbers_as_text(tmp_path: Path):
    points = [[str(x), str(y)] for x, y in SQUARE]
    write_one(tmp_path, "a", shape("x", points), imageWidth="16", imageHeight=12.0)
    assert one(tmp_path).instances[0]["segmentation"].sum() == 25


@pytest.mark.parametrize("value", ["wide", 0, -3, 1.5, True, [16]])
def test_a_side_that_is_none(tmp_path: Path, write, value: object):
    write_one(tmp_path, "a", shape("x"), imageWidth=value)
    with pytest.raises(SegbenchError, match=r"a\.json: imageWidth: .*\n  remedy: "):
        write(convert({}, {"folder": tmp_path}))


def test_files_of_other_systems_are_passed_over(tmp_path: Path, caplog):
    write_one(tmp_path / "set", "a", shape("x"))
    for name in ("._a.json", "._a.png", ".DS_Store", "Thumbs.db", "desktop.ini", "@eaDir/a.png"):
        path = tmp_path / "set" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\0\5\x16\7")
    (tmp_path / "Thumbs.db").touch()
    assert stems(tmp_path, unannotated="empty") == ["a"]
    assert not caplog.text


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_one(tmp_path / "parts", "a", shape("x"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert stems(Path("~/parts")) == ["a"]


@pytest.mark.parametrize("name", ["a{b}", "a[1]", "it's", 'a"b', "a b", "größe"])
def test_names_with_signs(tmp_path: Path, name: str):
    write_one(tmp_path, name, shape("x"))
    write_one(tmp_path, "other", shape("x"))
    samples = convert({}, {"folder": tmp_path, "test": [name]}).samples
    assert {s.stem: s.split for s in samples} == {name: "test", "other": "train"}


@pytest.mark.parametrize("label", ["background", "Background"])
def test_a_label_called_background(tmp_path: Path, write, label: str):
    write_one(tmp_path, "a", shape(label), shape("x"))
    with pytest.raises(SegbenchError, match="is the name of the implicit class 0"):
        write(convert({}, {"folder": tmp_path}))
