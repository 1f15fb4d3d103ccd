from __future__ import annotations

import pytest

from segbench.adopt.words import mask_affix, split_in, words


@pytest.mark.parametrize(
    ("folder", "split", "rest"),
    [
        ("train", "train", ""),
        ("Training", "train", ""),
        ("valid", "val", ""),
        ("validation", "val", ""),
        ("trainannot", "train", "annot"),
        ("test_images", "test", "_images"),
        ("images_val2017", "val", "images_2017"),
        ("imagesTr", "train", "images"),
        ("labelsTs", "test", "labels"),
        ("masksTrain", "train", "masks"),
        ("contest", "", "contest"),
        ("trains", "", "trains"),
        ("values", "", "values"),
    ],
)
def test_split_in_the_name_of_a_folder(folder: str, split: str, rest: str) -> None:
    assert split_in(folder) == (split, rest)


@pytest.mark.parametrize(
    ("stem", "parts"),
    [
        ("img7_mask", ("", "img7", "_mask", "")),
        ("img7-label", ("", "img7", "-label", "")),
        ("7_GT", ("", "7", "_GT", "")),
        ("21_manual1", ("", "21", "_manual", "1")),
        ("benign (3)_mask_1", ("", "benign (3)", "_mask", "_1")),
        ("cell_cp_masks", ("", "cell", "_cp_masks", "")),
        ("mask_7", ("mask_", "7", "", "")),
        ("unmasked", ("", "unmasked", "", "")),
    ],
)
def test_mask_word_in_a_name(stem: str, parts: tuple[str, ...]) -> None:
    assert mask_affix(stem) == parts


def test_words_of_names_in_camel_case() -> None:
    assert words("PedMasks") == {"ped", "masks"}
    assert words("JPEGImages_2") == {"jpeg", "images", "2"}
