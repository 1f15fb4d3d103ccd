from __future__ import annotations

import time
from pathlib import Path

import pytest

from segbench.data.converters.patterns import Matches, Pattern, files_below, matched, require_matches
from segbench.errors import SegbenchError


def find(names: list[str], image: list[str] | str, mask: list[str] | str) -> Matches:
    files = {name: Path("/data") / name for name in sorted(names)}
    sides = [[side] if isinstance(side, str) else side for side in (image, mask)]
    images, masks = ([Pattern(text, "options") for text in side] for side in sides)
    require_matches(files, [(images, masks)])
    return matched(files, images, masks)


def shown(matches: Matches) -> dict[str, list[str]]:
    return {
        pair.name: [path.relative_to("/data").as_posix() for path, _ in pair.masks] for pair in matches.pairs
    }


def test_names_agree_between_image_and_mask():
    found = find(["i/a.jpg", "i/b.c.JPG", "m/a_seg.png", "m/b.c_seg.png"], "i/{name}.jpg", "m/{name}_seg.png")
    assert shown(found) == {"a": ["m/a_seg.png"], "b.c": ["m/b.c_seg.png"]}
    assert not found.faults and not found.unannotated


def test_masks_beside_their_images_are_no_images():
    found = find(["001.png", "001_mask.png", "002.png"], "{name}.png", "{name}_mask.png")
    assert shown(found) == {"001": ["001_mask.png"]} and [*found.unannotated] == ["002"]


def test_images_beside_masks_of_the_shorter_name():
    found = find(["1.png", "1_image.png", "2.png", "2_image.png"], "{name}_image.png", "{name}.png")
    assert shown(found) == {"1": ["1.png"], "2": ["2.png"]} and not found.faults


def test_a_mask_without_its_image_does_not_become_an_image():
    found = find(["1.png", "1_mask.png", "7_mask.png"], "{name}.png", "{name}_mask.png")
    assert shown(found) == {"1": ["1_mask.png"]} and not found.unannotated
    (fault,) = found.faults
    assert str(fault).startswith(
        "/data/7_mask.png: is a mask of '7', but there is no such image\n  remedy: add"
    )


def test_names_in_another_unicode_form_are_equal(tmp_path: Path):
    for name in ("i/Mu\u0308nchen.png", "m/M\u00fcnchen.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    sides = [[Pattern(text, "options")] for text in ("i/{name}.png", "m/{name}.png")]
    (pair,) = matched(files_below({"": tmp_path}), *sides).pairs
    assert pair.name == "M\u00fcnchen" and pair.image.exists()


def test_fields_of_folders_keep_equal_names_apart():
    names = [f"{place}/{kind}/0.png" for place in ("Rural", "Urban") for kind in ("images_png", "masks_png")]
    found = find(names, "{place}/images_png/{name}.png", "{place}/masks_png/{name}.png")
    assert shown(found) == {"Rural_0": ["Rural/masks_png/0.png"], "Urban_0": ["Urban/masks_png/0.png"]}


def test_equal_names_in_two_folders_are_a_fault():
    found = find(["a1/1.png", "a2/1.png", "m/1.png"], "a?/{name}.png", "m/{name}.png")
    assert "a1/1.png: is the image of the same name as a2/1.png" in str(found.faults[0])
    assert "write a further field such as {folder}/{name}" in str(found.faults[0])


def test_two_masks_that_differ_in_their_suffix_are_a_fault():
    found = find(["i/1.png", "m/1.png", "m/1.tif"], "i/{name}.png", "m/{name}.*")
    assert "m/1.png: is the mask of the same name as m/1.tif" in str(found.faults[0])


def test_a_field_that_stands_twice_is_the_same_text():
    names = ["a/images/a.png", "a/masks/1.png", "a/masks/2.png", "a/images/b.png"]
    found = find(names, "{name}/images/{name}.png", "{name}/masks/*.png")
    assert shown(found) == {"a": ["a/masks/1.png", "a/masks/2.png"]}


def test_masks_in_any_folder():
    found = find(["i/a.png", "m/a.png", "m/x/y/a.png"], "i/{name}.png", "m/**/{name}.png")
    assert shown(found) == {"a": ["m/a.png", "m/x/y/a.png"]}


def test_several_patterns_as_of_two_hospitals():
    names = ["CXR/C_1.png", "CXR/M_1.png", "masks/C_1_mask.png", "masks/M_1.png"]
    found = find(names, "CXR/{name}.png", ["masks/{name}_mask.png", "masks/{name}.png"])
    assert shown(found) == {"C_1": ["masks/C_1_mask.png"], "M_1": ["masks/M_1.png"]} and not found.faults


@pytest.mark.parametrize(("name", "classes"), [("a_1", {"disc", "cup"}), ("a", {"optic_disc", "optic_cup"})])
def test_the_class_of_a_file_with_separators(name: str, classes: set[str]):
    files = [f"i/{name}.png", *(f"m/{name}_{c}.png" for c in classes)]
    (pair,) = find(files, "i/{name}.png", "m/{name}_{class}.png").pairs
    assert pair.name == name and {text for _, text in pair.masks} == classes


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        ("i/{name}.png", "m/*.png", "'m/\\*.png' has no field\n.*write {name}"),
        ("i/{name}.png", "m/{nam}.png", "'i/{name}.png' and 'm/{nam}.png' share no field"),
        ("i/{class}.png", "m/{class}.png", "the field {class} is for masks.*\n.*such as {folder}"),
        ("i/{0}.png", "m/{0}.png", ".0. is not a field"),
        ("i/{name.png", "m/{name}.png", "'i/{name.png' has no field"),
        ("i/{name}}.png", "m/{name}.png", "a brace or"),
        ("../i/{name}.png", "m/{name}.png", "is not a path below the dataset's folder"),
        ("/i/{name}.png", "m/{name}.png", "is not a path below the dataset's folder"),
        ("i\\{name}.png", "m/{name}.png", "is not a path below.*\n.*with /"),
        ("i/{name}.png", "i/{name}.png", "both match it under the same name"),
    ],
)
def test_patterns_that_are_not_valid(image: str, mask: str, message: str):
    with pytest.raises(SegbenchError, match=message):
        found = find(["i/a.png", "m/a.png"], image, mask)
        raise found.faults[0]


def test_patterns_that_match_nothing_are_all_named_with_the_files_that_there_are():
    with pytest.raises(SegbenchError) as error:
        find(["img/a.png", "img/b.png", "msk/a.webp", "x.txt"], "images/{name}.png", "msk/{name}.webp")
    text = str(error.value)
    assert "'images/{name}.png' matches no file of the dataset; options: 'msk/{name}.webp' matches" in text
    assert "matches only files of type .webp (known: .bmp, .gif," in text
    assert "files: 2 like img/a.png, msk/a.webp, x.txt" in text and "upper and lower case differ" in text


def test_no_pair_at_all_shows_the_names():
    with pytest.raises(SegbenchError, match="images are named 'a', 'b', masks 'a_mask'"):
        find(["i/a.png", "i/b.png", "m/a_mask.png"], "i/{name}.png", "m/{name}.png")


def test_files_are_listed_without_junk_and_through_links(tmp_path: Path):
    for name in ("i/a.png", "i/._a.png", "__MACOSX/i/a.png", "i/Thumbs.db"):
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "b.png").touch()
    (tmp_path / "own" / "linked").symlink_to(tmp_path / "other")
    (tmp_path / "own" / "again").symlink_to(tmp_path / "other")
    (tmp_path / "other" / "circle").symlink_to(tmp_path / "own")
    found = [*files_below({"x.zip/": tmp_path / "own"})]
    assert found == ["x.zip/again/b.png", "x.zip/i/a.png", "x.zip/linked/b.png"]


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path):
    with pytest.raises(SegbenchError, match="nowhere: is not readable .No such file"):
        files_below({"": tmp_path / "nowhere"})


def test_many_images_are_matched_in_linear_time():
    names = [f"train/{n:05}{end}.png" for n in range(2_000) for end in ("", "_mask")]
    start = time.process_time()
    found = find(names, "train/{name}.png", "train/{name}_mask.png")
    assert len(found.pairs) == 2_000 and not found.faults
    assert time.process_time() - start < 1
