from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from loaded import loading
from PIL import Image
from scipy.io import savemat
from typer.testing import CliRunner

from segbench.cli import app
from segbench.data.coco.masks import decode
from segbench.data.convert import ConvertSpec, convert_dataset
from segbench.data.converters import penn_fudan
from segbench.data.converters.pairs import convert as unread
from segbench.data.dataset import Dataset
from segbench.data.images import open_raster
from segbench.errors import SegbenchError

convert = loading(unread)

HALF = np.repeat([[0, 255]], 4, axis=1).repeat(8, axis=0)
"""An 8 x 8 mask whose right half is 255."""
LUNG = {"image": "i/{name}.png", "mask": "m/{name}.png", "classes": {0: "background", 255: "lung"}}


def objects(dataset: Dataset) -> dict[str, list[np.ndarray]]:
    """The objects of each image of a dataset, by the name of the image."""
    found: dict[str, list[np.ndarray]] = {}
    for split in map(dataset.split, dataset.info.splits):
        content = json.loads(split.instances_json.read_text())
        name_of = {i["id"]: Path(i["file_name"]).stem for i in content["images"]}
        found |= {name: [] for name in name_of.values()}
        for annotation in content["annotations"]:
            found[name_of[annotation["image_id"]]].append(decode(annotation["segmentation"]))
    return found


def maps(dataset: Dataset) -> dict[str, list]:
    return {
        r.stem: s.read_semantic(r.stem).tolist() for s in map(dataset.split, dataset.info.splits) for r in s
    }


@pytest.fixture
def folder(tmp_path: Path, save) -> Path:
    """Four images `i/*.png` with masks `m/*.png`, whose right half is 255."""
    for name in "abcd":
        save(tmp_path / "own" / "i" / f"{name}.png", np.full((8, 8, 3), ord(name)))
        save(tmp_path / "own" / "m" / f"{name}.png", HALF)
    return tmp_path / "own"


def test_one_pattern_for_all_is_divided(folder: Path, write):
    dataset = write(convert({}, {**LUNG, "folder": folder, "test": ["b"], "val_fraction": 0.3}))
    info = dataset.info
    assert info.splits == {"test": 1, "train": 2, "val": 1} and info.tasks == ["semantic"]
    assert (
        [c.name for c in info.categories] == ["lung"] and info.background and info.evaluation_split == "test"
    )
    assert all(m == (HALF > 0).astype(int).tolist() for m in maps(dataset).values())
    assert dataset.split("test").images[0].stem == "b"


def test_a_pattern_for_each_split(tmp_path: Path, save, write):
    for place in ("train/1", "train/2", "train/3", "val/1"):
        save(tmp_path / "own" / f"{place}.png")
        save(tmp_path / "own" / f"{place}_mask.png", HALF)
    splits = {s: {"image": f"{s}/{{name}}.png", "mask": f"{s}/{{name}}_mask.png"} for s in ("train", "val")}
    options: dict[str, Any] = {"splits": splits, "classes": ["background", "liver"], "threshold": 128}
    dataset = write(convert({"liver.zip": tmp_path / "own"}, options))
    assert dataset.info.splits == {"train": 3, "val": 1} and dataset.info.evaluation_split == "val"
    splits["test"] = splits.pop("val")
    converted = convert({"liver.zip": tmp_path / "own"}, {**options, "val_fraction": 0.3})
    assert sorted(s.split for s in converted.samples) == ["test", "train", "train", "val"]


@pytest.mark.parametrize("shared", ["images", "masks"])
def test_splits_may_share_a_folder(tmp_path: Path, save, shared: str):
    places = {"image": "i/{split}", "mask": "m/{split}"}
    places["image" if shared == "images" else "mask"] = "all"
    for split, name in (("train", "a"), ("train", "b"), ("test", "c")):
        save(tmp_path / places["image"].format(split=split) / f"{name}.png")
        save(tmp_path / places["mask"].format(split=split) / f"{name}_m.png", HALF)
    splits = {
        split: {
            "image": places["image"].format(split=split) + "/{name}.png",
            "mask": places["mask"].format(split=split) + "/{name}_m.png",
        }
        for split in ("train", "test")
    }
    options = {"folder": tmp_path, "splits": splits, "classes": LUNG["classes"]}
    found = [(s.split, s.stem, s.faults) for s in convert({}, options).samples]
    assert found == [("test", "c", []), ("train", "a", []), ("train", "b", [])]


def test_several_archives_are_named_in_the_patterns(tmp_path: Path, save):
    for split, place in (("Train", "Urban"), ("Train", "Rural"), ("Val", "Rural")):
        top = tmp_path / split / split / place
        save(top / "images_png" / "0.png")
        save(top / "masks_png" / "0.png", np.full((8, 8), 7))
    options = {
        "splits": {
            split.lower(): {
                kind: f"{split}.zip/{split}/{{place}}/{kind}s_png/{{name}}.png" for kind in ("image", "mask")
            }
            for split in ("Train", "Val")
        },
        "classes": ["background", "building", "road", "water", "barren", "forest", "agriculture"],
        "reduce_zero_label": True,
    }
    converted = convert({f"{s}.zip": tmp_path / s for s in ("Train", "Val")}, options)
    samples = list(converted.samples)
    assert [(s.split, s.stem) for s in samples] == [
        ("train", "Rural_0"),
        ("train", "Urban_0"),
        ("val", "Rural_0"),
    ]
    assert [c.name for c in converted.categories][-1] == "agriculture"
    assert all((s.semantic == 6).all() for s in samples)


def test_a_label_map_beside_the_archive(folder: Path, tmp_path: Path, save):
    for name in "abcd":
        save(folder / "m" / f"{name}.png", np.stack([HALF] * 3, axis=-1))
    (tmp_path / "labelmap.txt").write_text("background:0,0,0::\nlung:255,255,255::\n")
    archives = {"own.zip": folder, "labelmap.txt": tmp_path / "labelmap.txt"}
    options = {"image": "own.zip/i/{name}.png", "mask": "own.zip/m/{name}.png", "labelmap": "labelmap.txt"}
    assert all((s.semantic == HALF / 255).all() for s in convert(archives, options).samples)


@pytest.mark.parametrize("start", ["", "./", "kvasir/", "Kvasir-SEG/kvasir/"])
def test_patterns_may_begin_with_the_folders_that_hold_all(folder: Path, start: str, tmp_path: Path):
    (tmp_path / "Kvasir-SEG").mkdir()
    folder.rename(tmp_path / "Kvasir-SEG" / "kvasir")
    options = {**LUNG, "image": f"{start}i/{{name}}.png", "mask": f"{start}m/{{name}}.png"}
    (tmp_path / "top").mkdir()
    (tmp_path / "Kvasir-SEG").rename(tmp_path / "top" / "Kvasir-SEG")
    assert len(list(convert({"kvasir-seg.zip": tmp_path / "top"}, options).samples)) == 4


def test_masks_of_three_channels_in_jpeg_with_a_threshold(folder: Path):
    smooth = np.clip(np.linspace(-300, 600, 8), 0, 255).astype(np.uint8)
    rgb = np.broadcast_to(smooth[None, :, None], (8, 8, 3))
    for name in "abcd":
        Image.fromarray(np.ascontiguousarray(rgb)).save(folder / "m" / f"{name}.jpg", quality=75)
    options = {**LUNG, "folder": folder, "mask": "m/{name}.jpg", "threshold": 128}
    for sample in convert({}, options).samples:
        assert (sample.semantic == (smooth >= 128)).all()


def test_left_and_right_masks_are_united(folder: Path, save):
    for side, columns in (("left", slice(0, 2)), ("right", slice(6, 8))):
        mask = np.zeros((8, 8))
        mask[:, columns] = 255
        for name in "abcd":
            save(folder / "ManualMask" / f"{side}Mask" / f"{name}.png", mask)
    options = {**LUNG, "folder": folder, "mask": "ManualMask/*/{name}.png"}
    for sample in convert({}, options).samples:
        assert sample.semantic[0].tolist() == [1, 1, 0, 0, 0, 0, 1, 1]


def test_a_file_for_each_class(folder: Path, save, caplog):
    for name in "abcd":
        save(folder / "c" / f"{name}_optic_disc.png", HALF)
        save(folder / "c" / f"{name}_optic_cup.png", HALF * (np.arange(8) == 7))
    options = {"folder": folder, "image": "i/{name}.png", "mask": "c/{name}_{class}.png"}
    converted = convert({}, {**options, "classes": {"optic_disc": "disc", "optic_cup": "cup"}})
    assert all(s.semantic[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 2] for s in converted.samples)
    assert "32 pixels belong to several classes" in caplog.text


def test_colours_of_a_label_map(folder: Path, save, write):
    colors = np.zeros((8, 8, 3))
    colors[:, 4:] = 128, 64, 0
    for name in "abcd":
        save(folder / "m" / f"{name}.png", colors)
    (folder / "labelmap.txt").write_text("background:0,0,0::\ncar:128,64,0::\nbus:1,2,3::\n")
    options = {"folder": folder, "image": "i/{name}.png", "mask": "m/{name}.png", "labelmap": "labelmap.txt"}
    dataset = write(convert({}, options))
    assert [(c.name, c.color) for c in dataset.info.categories] == [("car", (128, 64, 0)), ("bus", (1, 2, 3))]
    assert all(m == (HALF > 0).astype(int).tolist() for m in maps(dataset).values())
    with pytest.raises(
        SegbenchError, match=r"options.labelmap: the dataset has no file 'x'[\s\S]*labelmap.txt"
    ):
        convert({}, {**options, "labelmap": "x"})


def test_a_file_for_each_object(folder: Path, save):
    for name in "abcd":
        for number in range(3):
            save(folder / "o" / name / f"{number}.png", HALF * (np.arange(8) <= 5 + number))
    options = {"folder": folder, "image": "i/{name}.png", "mask": "o/{name}/*.png", "objects": "nucleus"}
    for sample in convert({}, options).samples:
        assert [int(decode(o["segmentation"]).sum()) for o in sample.instances] == [16, 24, 32]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ".mat"])
def test_numbered_objects(folder: Path, write, suffix: str):
    ids = np.zeros((8, 8), np.uint16)
    ids[:2], ids[4:6, 2:], ids[7, 7] = 300, 7, 65535
    for name in "abcd":
        path = folder / "o" / f"{name}{suffix}"
        path.parent.mkdir(exist_ok=True)
        if suffix == ".npy":
            np.save(path, ids.astype(np.int32))
        elif suffix == ".mat":
            savemat(path, {"inst_map": ids.astype(float), "classes": [1, 2]})
        else:
            Image.fromarray(ids).save(path)
    options = {"folder": folder, "image": "i/{name}.png", "mask": "o/{name}.*", "objects": "cell"}
    dataset = write(convert({}, {**options, "key": "inst_map"}))
    assert dataset.info.tasks == ["semantic", "detection", "instance"] and dataset.info.max_instances == 3
    assert all(m == (ids > 0).astype(int).tolist() for m in maps(dataset).values())
    for found in objects(dataset).values():
        assert sorted(int(m.sum()) for m in found) == [1, 12, 16]


def test_void_of_numbered_objects(folder: Path, save, write):
    ids = np.zeros((8, 8))
    ids[:2], ids[2] = 1, 255
    for name in "abcd":
        save(folder / "m" / f"{name}.png", ids)
    options = {"folder": folder, "image": "i/{name}.png", "mask": "m/{name}.png", "objects": "cell"}
    dataset = write(convert({}, {**options, "void": [255]}))
    assert all([row[0] for row in m] == [1, 1, -1, 0, 0, 0, 0, 0] for m in maps(dataset).values())
    assert all([int(m.sum()) for m in found] == [16] for found in objects(dataset).values())


def test_images_without_a_mask(folder: Path, caplog, write):
    (folder / "m" / "a.png").unlink()
    options = {**LUNG, "folder": folder, "test": ["b"]}
    with pytest.raises(SegbenchError, match=r"i/a\.png: has no mask\n.*`unannotated` to `skip` or `empty`"):
        write(convert({}, options))
    assert [s.stem for s in convert({}, {**options, "unannotated": "skip"}).samples] == ["b", "c", "d"]
    assert "skipped 1 images without a mask, such as" in caplog.text
    empty = maps(write(convert({}, {**options, "unannotated": "empty"})))
    assert empty["a"] == np.zeros((8, 8), int).tolist() and empty["c"] != empty["a"]
    named = {
        "image": "i/{name}.png",
        "mask": "m/{name}.png",
        "objects": "cell",
        "test": ["b"],
        "folder": folder,
    }
    dataset = write(convert({}, {**named, "unannotated": "empty"}), name="objects")
    assert [len(objects(dataset)[name]) for name in "abcd"] == [0, 1, 1, 1]


def test_groups_stay_together_and_are_named(tmp_path: Path, save):
    for patient in range(4):
        for number in range(3):
            save(tmp_path / "i" / f"p{patient}_{number}.png")
            save(tmp_path / "m" / f"p{patient}_{number}.png", HALF)
    samples = list(convert({}, {**LUNG, "folder": tmp_path, "group": r"(p\d)_"}).samples)
    assert all(s.group == s.stem[:2] for s in samples)
    assert len({(s.group, s.split) for s in samples}) == 4


def test_all_mistakes_are_listed_at_once(folder: Path, save, write):
    save(folder / "i" / "e.png")  # without a mask
    save(folder / "m" / "f.png", HALF)  # without an image
    save(folder / "m" / "b.png", HALF[:, :5])  # another size
    save(folder / "m" / "c.png", HALF // 2)  # values without a class
    Image.fromarray(HALF.astype(np.uint8)).save(folder / "m" / "d.png", format="JPEG")
    with pytest.raises(SegbenchError, match="5 errors in the annotations") as error:
        write(convert({}, {**LUNG, "folder": folder, "test": ["b"]}))
    text = str(error.value)
    for line in (
        "m/f.png: is a mask of 'f', but there is no such image",
        "i/e.png: has no mask",
        "m/b.png: the semantic mask has 5x8 pixels, the image has 8x8",
        "m/c.png: has the value 127 (32 pixels), without a class",
        "m/d.png: is compressed with loss (JPEG)",
    ):
        assert line in text


def test_objects_of_another_size(folder: Path, save, write):
    save(folder / "m" / "b.png", HALF[:, :5])
    options = {"folder": folder, "image": "i/{name}.png", "mask": "m/{name}.png", "objects": "cell"}
    with pytest.raises(SegbenchError, match=r"m/b\.png: was drawn on 5x8 pixels, the image has 8x8"):
        write(convert({}, options))


def test_masks_with_a_single_object_are_noted(folder: Path, caplog):
    options = {"folder": folder, "image": "i/{name}.png", "mask": "m/{name}.png", "objects": "cell"}
    assert all(len(s.instances) == 1 for s in convert({}, options).samples)
    assert "no mask has more than one object; `classes` is for masks" in caplog.text


def test_masks_of_one_image_of_several_sizes(folder: Path, save, write):
    for number, width in enumerate((8, 5)):
        save(folder / "o" / f"a{number}.png", HALF[:, :width])
    options = {"folder": folder, "image": "i/{name}.png", "mask": "o/{name}?.png", "unannotated": "skip"}
    with pytest.raises(
        SegbenchError, match=r"o/a1\.png: has 5x8 pixels, but a0\.png of the same image has 8x8"
    ):
        write(convert({}, {**options, "objects": "cell"}))


def test_masks_are_as_large_as_the_stored_pixels(folder: Path, save, write):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((8, 6, 3), np.uint8)).save(folder / "i" / "a.png", exif=exif)
    save(folder / "m" / "a.png", HALF[:6])
    with pytest.raises(SegbenchError, match="it fits only as viewers show it"):
        write(convert({}, {**LUNG, "folder": folder}))


def test_a_threshold_that_no_mask_reaches(folder: Path, save):
    for name in "abcd":
        save(folder / "m" / f"{name}.png", HALF > 0)
    with pytest.raises(SegbenchError, match="no pixel of any mask reaches 128; the largest value is 1"):
        list(convert({}, {**LUNG, "folder": folder, "threshold": 128}).samples)


PAIR = {"image": "i/{name}.png", "mask": "m/{name}.png"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask": "m/{name}.png", "objects": "x"}, "options.image: is missing"),
        (PAIR, "options: none of classes, labelmap and objects is given"),
        ({**LUNG, "objects": "x"}, "options: classes, objects of classes, labelmap and objects are given"),
        ({**LUNG, "splits": {"train": PAIR}}, "options.splits: is given beside `image` or `mask`"),
        ({"splits": {"train": PAIR}, "objects": "x"}, "options.splits: has only train"),
        (
            {"splits": {"train": PAIR, "test": PAIR}, "objects": "x", "test_fraction": 0.2},
            "options.test_fraction: has no effect",
        ),
        ({"splits": {"train": PAIR, "test": PAIR}, "objects": "x"}, "matched by the patterns of the splits"),
        (
            {**PAIR, "objects": "x", "reduce_zero_label": True},
            "reduce_zero_label: does not go with `objects`",
        ),
        (
            {**PAIR, "classes": ["a", "b"], "unannotated": "empty"},
            "options.unannotated: is `empty`, but no class is the background",
        ),
        (
            {**LUNG, "image": "images/{name}.png"},
            "'images/{name}.png' matches no file of the dataset\n  files: 4 like i/a.png",
        ),
        ({**LUNG, "group": "patient"}, "options.group: 'patient' matches nothing in a, b"),
        ({**LUNG, "classes": {0: False}}, "options.classes: .*the class of 0 is False, not text"),
        ({**LUNG, "masks": "x"}, "options.masks: .*\n.*did you mean 'mask'"),
    ],
)
def test_options_that_are_not_valid(folder: Path, options: dict[str, Any], message: str, write):
    with pytest.raises(SegbenchError, match=message):
        write(convert({}, {"folder": folder, **options}))


def test_penn_fudan_by_patterns_alone(archives):
    only = {"PennFudanPed.zip": archives["PennFudanPed.zip"]}
    options = {"image": "PNGImages/{name}.png", "mask": "PedMasks/{name}_mask.png", "objects": "pedestrian"}
    found = {s.stem: s for s in convert(only, options).samples}
    expected = {s.stem: s for s in loading(penn_fudan.convert)(only, {}).samples}
    assert {n: (s.split, s.instances) for n, s in found.items()} == {
        n: (s.split, s.instances) for n, s in expected.items()
    }


def test_from_an_archive_in_a_mirror_to_a_checked_dataset(folder: Path, tmp_path: Path):
    rng = np.random.default_rng(0)
    (tmp_path / "mirror").mkdir()
    for path in (folder / "i").iterdir():
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    with zipfile.ZipFile(tmp_path / "mirror" / "lung.zip", "w") as archive:
        for path in folder.rglob("*.png"):
            archive.write(path, Path("2d") / path.relative_to(folder))
    checksum = hashlib.sha256((tmp_path / "mirror" / "lung.zip").read_bytes()).hexdigest()
    (tmp_path / "mirror" / "SHA256SUMS").write_text(f"{checksum}  lung.zip\n")
    spec = {
        "title": "Lung",
        "convert": "segbench.data.converters.pairs:convert",
        "tasks": ["semantic"],
        "channels": 3,
        "options": LUNG,
        "licence": "l",
        "citation": "c",
    }
    place, data = tmp_path / "archives" / "lung.zip", tmp_path / "data" / "lung"
    manual = json.dumps({"url": None, "manual": "put it there"})
    steps = [
        ["fetch", "lung.zip", "--out", place, "--record", tmp_path / "record.json", "--spec", manual,
         "--mirror", tmp_path / "mirror"],
        ["convert", "lung", "--out", data, "--spec", json.dumps(spec), "--archive", place],
        ["lint", data, "--out", tmp_path / "lint.json"],
    ]  # fmt: skip
    for step in steps:
        result = CliRunner().invoke(app, [*map(str, step)])
        assert result.exit_code == 0, (result.output, result.exception)
    assert Dataset(data).info.splits == {"test": 1, "train": 3}
    assert all(m == (HALF > 0).astype(int).tolist() for m in maps(Dataset(data)).values())
    findings = json.loads((tmp_path / "lint.json").read_text())
    assert findings["images"] == 4 and not findings["errors"]


STACK = {
    "image": "{name}/CBF.tif",
    "channels": ["{name}/MTT.tif", "{name}/rgb.png"],
    "mask": "{name}/mask.png",
    "classes": {0: "background", 255: "lesion"},
    "test": ["b"],
}


@pytest.fixture
def modalities(tmp_path: Path, save) -> Path:
    """Two images of two modalities of 16 bits and a photograph each."""
    for name in "ab":
        save(tmp_path / "own" / name / "mask.png", HALF)
        save(tmp_path / "own" / name / "rgb.png", np.full((8, 8, 3), [1, 2, 3]))
        for kind, value in (("CBF", -1000), ("MTT", ord(name) * 30)):
            values = np.full((8, 8), value, np.int16)
            values[0, 0] = 7
            tifffile.imwrite(tmp_path / "own" / name / f"{kind}.tif", values)
    return tmp_path / "own"


def test_files_are_stacked_to_channels(modalities: Path, write):
    dataset = write(convert({}, {**STACK, "folder": modalities}), channels=5)
    (record,) = dataset.split("test").images
    assert open_raster(record.path, 5).array[3, 3].tolist() == [-1000, ord("b") * 30, 1, 2, 3]
    assert dataset.info.levels.ranges == [(-1000, -1000), (2910, 2910), (1, 1), (2, 2), (3, 3)]
    assert maps(dataset)["b"] == (HALF > 0).astype(int).tolist()


def test_further_channels_are_no_images_without_a_mask(modalities: Path, write):
    for name in "ab":
        for kind in ("CBF", "MTT"):
            (modalities / name / f"{kind}.tif").rename(
                modalities / f"{name}{'' if kind == 'CBF' else '_MTT'}.tif"
            )
    options = {**STACK, "image": "{name}.tif", "channels": ["{name}_MTT.tif"], "mask": "{name}/mask.png"}
    dataset = write(convert({}, {**options, "folder": modalities}), channels=2)
    assert dataset.info.splits == {"test": 1, "train": 1}
    (record,) = dataset.split("test").images
    assert open_raster(record.path, 2).array[3, 3].tolist() == [-1000, ord("b") * 30]
    (modalities / "a_T2.tif").write_bytes((modalities / "a.tif").read_bytes())
    with pytest.raises(SegbenchError, match=r"a_T2\.tif: has no mask"):
        write(convert({}, {**options, "folder": modalities}), channels=2)


def test_all_missing_channels_are_listed(modalities: Path, write):
    (modalities / "a" / "MTT.tif").unlink()
    (modalities / "b" / "rgb.png").unlink()
    with pytest.raises(SegbenchError) as caught:
        write(convert({}, {**STACK, "folder": modalities}), channels=5)
    assert "a/CBF.tif: lacks its channels a/MTT.tif" in str(caught.value)
    assert "b/CBF.tif: lacks its channels b/rgb.png" in str(caught.value)


@pytest.mark.parametrize("text", ["MTT.tif", "{case}/MTT.tif", "{name}/*.tif", "{name}/{MTT.tif"])
def test_wrong_patterns_of_channels(modalities: Path, text: str):
    with pytest.raises(SegbenchError, match=r"options\.channels: .* does not name one file of each image"):
        convert({}, {**STACK, "folder": modalities, "channels": [text]})


def test_a_window_of_the_entry_reaches_the_dataset(modalities: Path, tmp_path: Path):
    spec = ConvertSpec(
        title="t",
        convert="segbench.data.converters.pairs:convert",
        tasks=["semantic"],
        channels=5,
        window=[(-1000, 7), (0, 6000), (0, 4), (0, 4), (0, 4)],
        options={**STACK, "folder": str(modalities)},
        licence="",
        citation="",
    )
    convert_dataset("own", ConvertSpec.model_validate_json(spec.model_dump_json()), [], tmp_path / "out")
    dataset = Dataset(tmp_path / "out")
    assert dataset.info.levels.stated
    split = dataset.split("test")
    image = split.read_image(split.images[0])
    assert image[0, 0].tolist() == pytest.approx([1, 7 / 6000, 0.25, 0.5, 0.75])
    assert image[3, 3].tolist() == pytest.approx([0, 2940 / 6000, 0.25, 0.5, 0.75])


def test_classes_that_overlap_can_be_kept(folder: Path, save, write):
    """A file for each class: a pixel keeps all of them, and void in one file is void."""
    disc, cup = np.full((8, 8), 9), np.zeros((8, 8))
    disc[:, 0], disc[0, 7], cup[:, :3], cup[7, 7] = 0, 7, 1, 7
    for name in "abcd":
        save(folder / "m" / f"{name}_disc.png", disc)
        save(folder / "m" / f"{name}_cup.png", cup)
    options = {"folder": folder, "image": "i/{name}.png", "mask": "m/{name}_{class}.png", "test": ["a"]}
    options |= {"classes": {"disc": "disc", "cup": "cup", "rest": "background"}, "void": [7]}
    dataset = write(convert({}, {**options, "overlap": "keep"}))
    expected = np.where(disc == 9, 1, 0) + np.where(cup == 1, 2, 0)
    expected[0, 7] = expected[7, 7] = -1
    assert dataset.info.overlapping and not dataset.info.background
    assert [c.name for c in dataset.info.categories] == ["disc", "cup"]
    assert set(expected.ravel().tolist()) == {-1, 1, 2, 3}
    assert maps(dataset) == dict.fromkeys("abcd", expected.tolist())
    last = write(convert({}, options), name="last")
    assert not last.info.overlapping and last.info.background
    assert maps(last)["a"][1] == [2, 2, 2, 1, 1, 1, 1, 1]


def test_images_without_masks_have_none_of_the_classes_that_overlap(folder: Path, save, write):
    save(folder / "m" / "a_disc.png", np.ones((8, 8)))
    options = {"folder": folder, "image": "i/{name}.png", "mask": "m/{name}_{class}.png", "test": ["b"]}
    options |= {"classes": {"disc": "disc"}, "unannotated": "empty", "overlap": "keep"}
    found = maps(write(convert({}, options)))
    assert found == {"a": np.ones((8, 8)).tolist()} | dict.fromkeys("bcd", np.zeros((8, 8)).tolist())


def test_objects_need_no_overlap(folder: Path):
    options = {**LUNG, "folder": folder, "overlap": "keep", "objects": "cell"}
    del options["classes"]
    with pytest.raises(SegbenchError, match="is `keep`, but masks number objects") as error:
        convert({}, options)
    assert error.value.where == "options.overlap"


def test_masks_of_a_second_person_are_kept_beside_the_truth(folder: Path, save, write):
    for name in "ac":
        save(folder / "m_b" / f"{name}.png", HALF[:, ::-1])
    options = {**LUNG, "folder": folder, "test": ["a", "b"], "second": "m_b/{name}.png"}
    dataset = write(convert({}, options))
    assert dataset.info.twice == {"test": 1, "train": 1}
    split = dataset.split("test")
    assert [r.stem for r in split] == ["a", "b"] and [(r.id, r.stem) for r in split.second()] == [(1, "a")]
    assert (split.read_semantic("a") == (HALF > 0)).all()
    assert (split.second().read_semantic("a") == (HALF[:, ::-1] > 0)).all()
    plain = write(convert({}, {**LUNG, "folder": folder, "test": ["a", "b"]}), name="plain")
    assert not plain.info.twice and not (plain.root / "test/second").exists()


def test_masks_of_a_second_person_may_lie_beside_the_others(folder: Path, save):
    for name in "abc":
        save(folder / "m" / f"{name}_second.png", HALF[:, ::-1])
    options = {**LUNG, "folder": folder, "second": "m/{name}_second.png"}
    found = {s.stem: s for s in convert({}, options).samples}
    assert sorted(found) == ["a", "b", "c", "d"]
    assert {name for name, s in found.items() if s.second is None} == {"d"}
    assert (found["a"].second.semantic == (HALF[:, ::-1] > 0)).all()


def test_objects_of_a_second_person_by_split(tmp_path: Path, save, write):
    for split in ("train", "test"):
        save(tmp_path / split / "a.png", np.full((8, 8, 3), len(split)))
        save(tmp_path / split / "a_1.png", HALF // 255)
    save(tmp_path / "test" / "a_2.png", np.repeat([[1, 2]], 4, axis=1).repeat(8, axis=0))
    splits = {
        split: {"image": f"{split}/{{name}}.png", "mask": f"{split}/{{name}}_1.png"}
        for split in ("train", "test")
    }
    splits["test"]["second"] = "test/{name}_2.png"
    dataset = write(convert({}, {"folder": tmp_path, "splits": splits, "objects": "cell"}))
    assert dataset.info.twice == {"test": 1}
    split = dataset.split("test")
    first, second = (json.loads(s.instances_json.read_text())["annotations"] for s in (split, split.second()))
    assert (len(first), len(second)) == (1, 2)
    with pytest.raises(SegbenchError, match=r"options.second: is given beside `splits`"):
        convert({}, {"folder": tmp_path, "splits": splits, "objects": "cell", "second": "x/{name}.png"})


def test_faults_of_the_second_person_are_listed_with_the_others(folder: Path, save, write):
    save(folder / "m_b" / "a.png", np.full((8, 8), 7))  # no class
    save(folder / "m_b" / "b.png", HALF[:4])  # another size
    save(folder / "m_b" / "x.png", HALF)  # no image
    save(folder / "m" / "c.png", np.full((8, 8), 9))
    with pytest.raises(SegbenchError) as error:
        write(convert({}, {**LUNG, "folder": folder, "second": "m_b/{name}.png"}))
    text = str(error.value)
    for part in ("m_b/a.png", "m_b/b.png", "8x4", "m_b/x.png: is a mask of 'x', but", "m/c.png"):
        assert part in text, part
    with pytest.raises(SegbenchError, match=r"options.second: 'm_c/\{name\}.png' matches no file"):
        convert({}, {**LUNG, "folder": folder, "second": "m_c/{name}.png"})


def test_one_mask_is_not_of_both_persons(folder: Path, write):
    with pytest.raises(SegbenchError, match=r"a.png: is matched by the patterns of both persons"):
        write(convert({}, {**LUNG, "folder": folder, "second": "m/{name}.png"}))
