"""What values of foreign label maps mean; right values are counted by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from segbench.errors import SegbenchError
from segbench.evaluation.runner.score import app
from segbench.evaluation.semantic.values import Values, class_names, parse_map

TRUE = np.repeat([[0], [1], [1], [0]], 10, 1).astype(np.uint8)
GUESS = np.repeat([[0], [1], [0], [0]], 10, 1).astype(np.uint8)
"""Class 1: 20 pixels true, 10 predicted, 10 right. Class 0: 20 true, 30 predicted, 20 right."""
MIOU = (20 / 30 + 10 / 20) / 2


def save(path, values):
    path.parent.mkdir(exist_ok=True)
    (values if isinstance(values, Image.Image) else Image.fromarray(values)).save(path)


@pytest.fixture
def score(tmp_path):
    """Means of `segbench score semantic` for lists of true and predicted maps."""

    def run(truth, guess, *options, suffix="png"):
        for folder, maps in (("truth", truth), ("guess", guess)):
            for number, values in enumerate(maps):
                save(tmp_path / folder / f"{number}.{suffix}", values)
        sides = ("--truth", tmp_path / "truth", "--predictions", tmp_path / "guess")
        arguments = ["semantic", *sides, "--json", tmp_path / "s.json", *options]
        found = CliRunner().invoke(app, [str(a) for a in arguments])
        if found.exception:
            raise found.exception
        scores = json.loads((tmp_path / "s.json").read_text())["scores"]
        return {(s["metric"], s["class"]): s["value"] for s in scores}

    return run


@pytest.mark.parametrize(
    "options", [("--binary",), ("--classes", 2, "--binary"), ("--classes", 2, "--map", "255=1")]
)
@pytest.mark.parametrize(("true", "guess"), [(255, 255), (1, 255), (255, 1)])
def test_masks_of_0_and_255(score, true, guess, options):
    scores = score([TRUE * true], [GUESS * guess], *options)
    assert scores["miou", ""] == pytest.approx(MIOU)
    if options == ("--binary",):
        assert scores["dice_no_background", ""] == pytest.approx(20 / 30)


def test_masks_of_0_and_255_taken_for_classes(score, tmp_path):
    with pytest.raises(
        SegbenchError,
        match=r"truth: holds no pixel of class 1; 50.00% are 255, which is void\n.*--binary.*--map 255=1",
    ):
        score([TRUE * 255], [GUESS * 255], "--classes", 2, "--per-image", tmp_path / "x.parquet")
    assert not [p for p in tmp_path.iterdir() if p.is_file()]
    scores = score([TRUE * 255], [GUESS], "--classes", 2, "--ignore", 255)  # said to be void
    assert scores["pixel_accuracy", ""] == 1.0


def test_predictions_of_0_and_255(score, caplog):
    with pytest.raises(
        SegbenchError,
        match=r"guess: holds no pixel of class 1: 25.00% .* are not labelled \(value 255\)\n.*--binary",
    ):
        score([TRUE], [GUESS * 255], "--classes", 2)
    guess = GUESS.copy()
    guess[2] = 255
    scores = score([TRUE], [guess], "--classes", 2)
    assert "guess: 25.00% of the pixels are not labelled (value 255)" in caplog.text
    assert scores["recall", "1"] == 0.5 and scores["precision", "1"] == 1.0


def test_void_of_the_truth_stays_void_with_masks_of_0_and_255(score):
    true = TRUE.copy()
    true[2] = 255
    for options in (("--binary",), ("--classes", 2, "--map", "255=1")):
        assert score([true], [GUESS * 255], *options, "--ignore", 255)["miou", ""] == 1.0


def test_void_all_over(score, caplog):
    scores = score([TRUE * 0 + 255], [GUESS], "--classes", 2)
    assert set(scores.values()) == {None}
    assert "truth: every pixel is void, and all scores are undefined" in caplog.text


@pytest.mark.parametrize("ignore", [0, 1, 2])
def test_an_ignored_value_is_not_a_class(score, ignore):
    """As ADE20K's reduce_zero_label: neither in truth nor in the means."""
    true = np.arange(3, dtype=np.uint8).repeat(16).reshape(6, 8)
    guess = np.where(true == ignore, (true + 1) % 3, true).astype(np.uint8)
    scores = score([true], [guess], "--classes", 3, "--ignore", ignore)
    kept = {str(i) for i in range(3)} - {str(ignore)}
    assert {name for metric, name in scores if metric == "miou"} == {"", *kept}
    assert scores["pixel_accuracy", ""] == scores["miou", ""] == 1.0
    other = np.flatnonzero(true == (ignore + 1) % 3)[:8]
    guess.flat[other] = ignore  # half of a class is predicted as the ignored value
    scores = score([true], [guess], "--classes", 3, "--ignore", ignore)
    assert scores["pixel_accuracy", ""] == scores["miou", ""] == 0.75


def test_the_value_255_as_a_class(score):
    true = np.arange(300, dtype=np.uint16).reshape(15, 20)
    true[0, 0] = 65535
    scores = score([true], [np.arange(300, dtype=np.uint16).reshape(15, 20)], "--classes", 300)
    assert scores["recall", "255"] == 1.0 and scores["recall", "0"] is None


@pytest.mark.parametrize("kind", ["bool", "float", "grey + alpha", "RGB"])
def test_binary_takes(score, kind):
    def made(mask):
        if kind == "bool":
            return Image.fromarray(mask.astype(bool))
        if kind == "float":
            return Image.fromarray(mask.astype(np.float32) * 0.7)
        return Image.fromarray(mask * 255).convert({"grey + alpha": "LA"}.get(kind, kind))

    suffix = "tif" if kind == "float" else "png"
    assert score([made(TRUE)], [made(GUESS)], "--binary", suffix=suffix)["miou", ""] == pytest.approx(MIOU)


def test_grey_jpeg_needs_a_threshold(score):
    y, x = np.mgrid[:64, :64]
    disc = ((y - 32) ** 2 + (x - 30) ** 2 < 300).astype(np.uint8) * 255
    with pytest.raises(
        SegbenchError, match=r"truth/0.jpg: holds \d+ different values, 0 to \d+\n.*--threshold, such as 127"
    ):
        score([disc], [disc], "--binary", suffix="jpg")
    score([disc], [disc], "--binary", "--threshold", 127, suffix="jpg")
    lossy = score([disc], [disc], "--binary", "--threshold", 127, suffix="jpg")
    assert lossy["miou", ""] == 1.0
    exact = float((np.asarray(Image.open(_jpeg(disc))) > 127).sum())
    assert exact == (disc > 0).sum()


def _jpeg(values):
    import io

    file = io.BytesIO()
    Image.fromarray(values).save(file, "JPEG")
    return file


def test_ids_of_objects_need_a_threshold(score):
    ids = TRUE * 3
    ids[1, :4] = 7
    with pytest.raises(SegbenchError, match="truth/0.png: holds 3 different values, 0 to 7"):
        score([ids], [GUESS], "--binary")
    assert score([ids], [GUESS], "--binary", "--threshold", 0)["miou", ""] == pytest.approx(MIOU)


def test_probabilities_need_a_threshold(score):
    likely = GUESS * np.float32(0.6) + np.float32(0.3)
    likely[0, 0] = 0.1
    scores = score([TRUE.astype(np.float32)], [likely], "--binary", "--threshold", 0.5, suffix="tif")
    assert scores["miou", ""] == pytest.approx(MIOU)


def test_mapped_values_change_at_once(score):
    scores = score(
        [TRUE + 5],
        [1 - GUESS],
        "--classes",
        2,
        "--map",
        "5=0",
        "--map",
        "6=1",
        "--map",
        "0=1",
        "--map",
        "1=0",
    )
    assert scores["miou", ""] == pytest.approx(MIOU)
    void = TRUE.copy()
    void[2] = 9
    assert score([void], [GUESS], "--classes", 2, "--map", "9=255")["miou", ""] == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--map", "255"), r"--map: '255' is not FROM=TO.*\n.*--map 255=1"),
        (("--map", "-1=0"), "--map: '-1=0' is not FROM=TO"),
        (("--map", "70000=0"), "--map: '70000=0' is not FROM=TO"),
        (("--map", "7=0", "--map", "7=1"), "another one maps the same value"),
        (("--map", "255=2"), r"--map: 255=2: 2 is neither a class nor void\n.*0 to 1"),
        (("--binary", "--map", "255=1"), "--binary: needs two classes, and no --map"),
        (("--threshold", "127"), "--threshold: needs --binary"),
    ],
)
def test_options_that_do_not_fit(score, options, message):
    with pytest.raises(SegbenchError, match=message):
        score([TRUE], [GUESS], "--classes", 2, *options)


def test_classes_are_needed(score):
    with pytest.raises(SegbenchError, match=r"--classes: is missing\n.*--binary"):
        score([TRUE], [GUESS])
    with pytest.raises(SegbenchError, match="--binary: needs two classes"):
        score([TRUE], [GUESS], "--classes", 3, "--binary")


def test_class_lists_with_a_byte_order_mark(tmp_path):
    (tmp_path / "names.txt").write_text("himmel\nstraße\n", encoding="utf-8-sig")
    assert class_names(str(tmp_path / "names.txt")) == ["himmel", "straße"]
    for text in ("99999999", "65536", "\u0663", "a\0b"):
        with pytest.raises(SegbenchError, match="--classes"):
            class_names(text)


def test_void_is_the_top_of_8_or_16_bit_unless_it_means_something():
    assert Values(["x"] * 255).void == 255 and Values(["x"] * 256).void == 65535
    assert Values(["a", "b"], mapped=parse_map(["255=1"])).void is None
    assert Values(["a", "b"], ignore=-1).void is None
