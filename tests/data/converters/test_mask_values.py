from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segbench.data.coco.masks import decode
from segbench.data.converters.mask_values import (
    Meaning,
    meaning_of_classes,
    meaning_of_objects,
    overlap,
    read_labelmap,
    united,
)
from segbench.errors import SegbenchError

PATH = Path("/data/a.png")


def classes(names, void=(), threshold=None, by_file=False, zero_is_void=False) -> Meaning:
    return meaning_of_classes(names, void, threshold, by_file=by_file, zero_is_void=zero_is_void)


def ids(meaning: Meaning, *values: float, dtype=np.uint8, text: str | None = None) -> list[int]:
    return meaning.classes(np.array([values], dtype), PATH, text)[0].tolist()


def test_values_of_classes_background_and_void():
    meaning = classes({"0": "background", "255": "lung", "7": "heart", "8": "lung"}, void=[9])
    assert [c.name for c in meaning.categories] == ["lung", "heart"] and meaning.background
    assert ids(meaning, 0, 255, 7, 8, 9) == [0, 1, 2, 1, -1]
    assert ids(meaning, 0, 255, 7, 8, 9, dtype=np.uint16) == [0, 1, 2, 1, -1]


def test_a_list_names_the_values_from_0():
    meaning = classes(["road", "car"])
    assert ids(meaning, 0, 1) == [1, 2] and not meaning.background
    assert ids(classes(["background", "car"]), 0, 1) == [0, 1]


def test_zero_is_void():
    meaning = classes(["road", "car"], zero_is_void=True)
    assert ids(meaning, 0, 1, 2) == [-1, 1, 2] and not meaning.background
    assert ids(classes({"1": "a", "0": "background"}, zero_is_void=True), 0, 1) == [-1, 1]


def test_values_of_sixteen_bits_and_below_zero():
    meaning = classes({"-1": "background", "40000": "car"})
    assert ids(meaning, -1, 40000, dtype=np.int32) == [0, 1]


def test_one_bit_is_1_or_255():
    assert ids(classes({"0": "background", "255": "lung"}), False, True, dtype=bool) == [0, 1]
    assert ids(classes(["background", "lung"]), False, True, dtype=bool) == [0, 1]


def test_colours_name_classes_and_paint_them():
    meaning = classes({"#000000": "background", "#804000": "car", "1, 2,3": "tree"}, void=["#ffffff"])
    assert [(c.name, c.color) for c in meaning.categories] == [("car", (128, 64, 0)), ("tree", (1, 2, 3))]
    values = (0, 128 + 64 * 256, 1 + 2 * 256 + 3 * 65536, 0xFFFFFF)
    assert meaning.content == "colors" and ids(meaning, *values, dtype=np.int32) == [0, 1, 2, -1]


def test_a_threshold_divides_dark_and_bright():
    meaning = classes({"255": "polyp", "0": "background"}, threshold=128)
    assert meaning.content == "grey" and ids(meaning, 0, 127, 128, 255) == [0, 0, 1, 1]
    assert ids(classes(["sky", "sea"], threshold=0.5), 0.2, 0.5, dtype=float) == [1, 2]


def test_values_without_a_class_are_counted():
    with pytest.raises(SegbenchError) as error:
        ids(classes(["background", "lung"]), 0, 1, 255, 255, 7)
    assert str(error.value) == (
        "/data/a.png: has the values 255 (2 pixels), 7 (1 pixels), without a class\n"
        "  remedy: name each in `classes`, such as `255: NAME`, or list it in `void`"
    )
    with pytest.raises(
        SegbenchError, match=r"has the colour #010203 \(1 pixels\), without[\s\S]*\"#010203\": NAME"
    ):
        ids(classes({"#000000": "background", "#804000": "car"}), 0, 1 + 2 * 256 + 3 * 65536, dtype=np.int32)
    with pytest.raises(SegbenchError, match=r"and 249 more, without[\s\S]*set `threshold`"):
        ids(classes(["background", "lung"]), *range(256))


@pytest.mark.parametrize(
    ("names", "more", "message"),
    [
        ({"0": "background"}, {}, "options.classes: names no class"),
        ({"red": "car"}, {}, "'red' is neither a value nor a colour"),
        ({"256,0,0": "car"}, {}, "'256,0,0' is neither"),
        ({"0": "a", "#000001": "b"}, {}, "names values and colours"),
        ({"0": "a", "1": "b"}, {"void": ["#000001"]}, "names values and colours"),
        ({"0": "a", "00": "b"}, {}, "names a value twice"),
        ({"0": "a", "1": "b"}, {"void": [1]}, "options.void: 1 is also in `classes`"),
        ({"0": "a", "1": "b"}, {"zero_is_void": True}, "names the value 0, but `reduce_zero_label`"),
        ({"#000000": "a"}, {"zero_is_void": True}, "names colours, but `reduce_zero_label`"),
        (["a", "b", "c"], {"threshold": 3}, "options.threshold: needs two classes"),
        (["a", "b"], {"threshold": 3, "void": [255]}, "options.threshold: needs two classes"),
    ],
)
def test_options_that_contradict(names, more: dict, message: str):
    with pytest.raises(SegbenchError, match=message):
        classes(names, **more)


def test_the_class_of_a_file():
    meaning = classes(["disc", "cup"], void=[9], by_file=True)
    assert [c.name for c in meaning.categories] == ["disc", "cup"] and meaning.background
    assert ids(meaning, 0, 255, 9, text="cup") == [0, 2, -1]
    with pytest.raises(SegbenchError, match="a mask of 'cups', which is not a class.*\n.*did you mean 'cup'"):
        ids(meaning, 0, text="cups")
    with pytest.raises(SegbenchError, match="has the values 7, 255 beside 0.*\n.*set `threshold`"):
        ids(meaning, 0, 7, 255, text="cup")
    assert ids(classes({"d": "disc", "rest": "background"}, by_file=True), 0, 255, text="rest") == [0, 0]


def test_maps_are_united():
    maps = [np.array([row], np.int32) for row in ([0, 1, 0, -1, 1], [0, 0, -1, 2, 2])]
    assert united(maps).tolist() == [[0, 1, -1, 2, 2]]
    assert overlap(maps) == 1 and overlap(maps[:1]) == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_each_value_is_an_object(dtype):
    meaning = meaning_of_objects("cell", [200], None, by_file=False)
    array = np.array([[0, 3, 3], [5, 0, 200]], dtype)
    objects = meaning.instances(array, PATH, None)
    assert [o["category_id"] for o in objects] == [1, 1]
    assert [decode(o["segmentation"]).tolist() for o in objects] == [(array == v).tolist() for v in (3, 5)]
    assert meaning.classes(array, PATH, None).tolist() == [[0, 1, 1], [1, 0, -1]]


def test_the_bright_pixels_of_a_file_are_one_object():
    meaning = meaning_of_objects({"c": "cell", "n": "nucleus"}, [], 128, by_file=True)
    (found,) = meaning.instances(np.array([[0, 130, 255]], np.uint8), PATH, "n")
    assert found["category_id"] == 2 and decode(found["segmentation"]).tolist() == [[False, True, True]]
    assert meaning.instances(np.array([[0, 13]], np.uint8), PATH, "c") == []


def test_numbers_below_zero_are_void_or_refused():
    array = np.array([[-1, 1]], np.int32)
    with pytest.raises(SegbenchError, match="has the object number -1"):
        meaning_of_objects("cell", [], None, by_file=False).instances(array, PATH, None)
    assert len(meaning_of_objects("cell", [-1], None, by_file=False).instances(array, PATH, None)) == 1


def test_an_image_in_place_of_a_mask_is_refused():
    noise = np.arange(20_000, dtype=np.int32).reshape(100, 200)
    with pytest.raises(SegbenchError, match="has 19999 values in 20000 pixels, too many to be numbers"):
        meaning_of_objects("cell", [], None, by_file=False).instances(noise, PATH, None)


def test_objects_of_one_or_of_several_classes():
    with pytest.raises(SegbenchError, match="names several classes"):
        meaning_of_objects(["a", "b"], [], None, by_file=False)
    with pytest.raises(SegbenchError, match="names one class, but the field {class} names several"):
        meaning_of_objects("a", [], None, by_file=True)


def test_the_label_map_of_cvat(tmp_path: Path):
    path = tmp_path / "labelmap.txt"
    path.write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:128,64,0::\n\ntree:0,128,0:a,b:\n"
    )
    assert read_labelmap(path, "utf-8") == {"#000000": "background", "#804000": "car", "#008000": "tree"}
    path.write_text("car:128,64,0::\nbus:128,64,0::\ntree\nsky:1,2::\n")
    with pytest.raises(
        SegbenchError, match="line 2 has the colour #804000 of 'car'; line 3 is 'tree'; line 4 is 'sky:1,2::'"
    ):
        read_labelmap(path, "utf-8")
