from __future__ import annotations

import io
import json
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from segbench.contract.view import Category
from segbench.data import images
from segbench.data.coco import masks
from segbench.data.dataset import Converted, Dataset, Sample, rgb_to_id
from segbench.errors import SegbenchError

THINGS = [Category(id=i, name=f"c{i}", isthing=True, color=(i, 0, 0)) for i in (1, 2)]
PANOPTIC = [*THINGS, Category(id=3, name="sky", isthing=False, color=(0, 0, 9))]
H, W = 6, 8


def png(value: int | tuple[int, int, int] = 0, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (W, H), value).save(file, "PNG")
    return file.getvalue()


def box(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
    mask = np.zeros((H, W), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def sample(stem: str = "a", split: str = "train", **parts) -> Sample:
    return Sample(split, stem, parts.pop("image", png()), suffix=".png", **parts)


def converted(*samples: Sample, categories=THINGS, background: bool = True) -> Converted:
    return Converted(categories, background, "test", samples, orientation="stored")


def pair(**parts) -> list[Sample]:
    return [sample("a", "train", **parts), sample("b", "test", **parts)]


def zeros() -> np.ndarray:
    return np.zeros((H, W), int)


def test_semantic_set_on_disk(write, tmp_path: Path):
    ids = zeros()
    ids[0], ids[1], ids[2] = 1, 2, -1
    dataset = write(converted(*pair(semantic=ids)))
    info = dataset.info
    assert (info.tasks, info.derived, info.max_instances) == (["semantic"], [], 0)
    assert info.splits == {"test": 1, "train": 1}
    split = dataset.split("train")
    assert [r.stem for r in split] == ["a"]
    assert not split.instances_json.exists() and not split.panoptic_json.exists()
    assert (split.read_semantic("a") == ids).all()
    stored = np.asarray(Image.open(split.semantic_path("a")))
    assert stored.dtype == np.uint8 and set(stored[2]) == {255}
    assert sorted(p.name for p in (tmp_path / "datasets").iterdir()) == ["toy"]
    assert sorted(p.name for p in split.root.iterdir()) == ["images", "semantic"]


def test_sixteen_bit_maps_beyond_254_classes(write):
    many = [Category(id=i, name=f"c{i}", isthing=False, color=(0, 0, 0)) for i in range(1, 301)]
    ids = zeros() + 300
    ids[0, 0] = -1
    dataset = write(converted(*pair(semantic=ids), categories=many))
    assert np.asarray(Image.open(dataset.split("train").semantic_path("a")))[0, 0] == 65535
    assert (dataset.split("train").read_semantic("a") == ids).all()


def test_instances_give_ids_areas_boxes_and_a_semantic_map(write):
    large, small, crowd = box(0, 4, 0, 4), box(1, 3, 1, 3), box(3, 6, 3, 8)
    objects = [
        {"category_id": 2, "segmentation": small},
        {"category_id": 1, "segmentation": large},
        {"category_id": 1, "segmentation": masks.encode(crowd), "iscrowd": 1},
        {"category_id": 1, "segmentation": [[0, 4, 2, 4, 2, 6, 0, 6]], "area": 3.5, "bbox": [0, 4, 2, 2]},
        {"category_id": 1, "segmentation": box(0, 0, 0, 0)},
    ]
    dataset = write(converted(*pair(instances=objects)))
    assert (dataset.info.tasks, dataset.info.derived) == (
        ["semantic", "detection", "instance"],
        ["semantic", "detection"],
    )
    assert dataset.info.max_instances == 3
    expected = zeros()
    expected[crowd] = -1
    expected[large] = 1
    expected[4:6, 0:2] = 1
    expected[small] = 2
    assert (dataset.split("train").read_semantic("a") == expected).all()

    coco = COCO(dataset.split("train").instances_json)
    found = coco.loadAnns(coco.getAnnIds())
    assert [a["id"] for a in found] == [1, 2, 3, 4]
    assert [a["image_id"] for a in found] == [1] * 4
    assert [a["area"] for a in found] == [4, 16, 15, 3.5]
    assert found[0]["bbox"] == [1, 1, 2, 2]
    assert [a["iscrowd"] for a in found] == [0, 0, 1, 0]
    assert found[3]["segmentation"] == [[0, 4, 2, 4, 2, 6, 0, 6]]
    assert (coco.annToMask(found[2]) == crowd).all()


def test_empty_masks_are_counted(write, caplog):
    write(converted(*pair(instances=[{"category_id": 1, "segmentation": box(0, 0, 0, 0)}])))
    assert "2 masks without a pixel" in caplog.text


def panoptic() -> tuple[np.ndarray, list[dict]]:
    ids = zeros()
    ids[0:2], ids[2:4, 0:4], ids[2:4, 4:8], ids[4] = 70000, 5, 9, 300  # the last row is unlabelled
    info = [
        {"id": 70000, "category_id": 3, "iscrowd": 0, "area": 999},
        {"id": 5, "category_id": 1, "iscrowd": 0},
        {"id": 9, "category_id": 1},
        {"id": 300, "category_id": 2, "iscrowd": 1},
        {"id": 4, "category_id": 1},
    ]
    return ids, info


def test_panoptic_gives_all_three_and_they_agree(write):
    ids, info = panoptic()
    dataset = write(converted(*pair(panoptic=(ids, info)), categories=PANOPTIC, background=False))
    assert dataset.info.tasks == ["semantic", "detection", "instance", "panoptic"]
    assert dataset.info.derived == ["semantic", "detection", "instance"]
    assert dataset.info.max_instances == 2
    split = dataset.split("train")
    stored = json.loads(split.panoptic_json.read_text())
    (annotation,) = stored["annotations"]
    assert (annotation["image_id"], annotation["file_name"]) == (1, "a.png")
    assert [s["id"] for s in annotation["segments_info"]] == [70000, 5, 9, 300]  # 4 has no pixel
    assert annotation["segments_info"][2] == {
        "id": 9,
        "category_id": 1,
        "iscrowd": 0,
        "area": 8,
        "bbox": [4, 2, 4, 2],
    }
    assert [c["isthing"] for c in stored["categories"]] == [1, 1, 0]
    read = rgb_to_id(np.asarray(Image.open(split.panoptic_folder / "a.png")))
    assert (read == ids).all()

    expected = np.select([ids == 0, ids == 70000, ids == 300], [-1, 3, 2], 1)
    assert (split.read_semantic("a") == expected).all()

    coco = COCO(split.instances_json)
    assert [c["id"] for c in coco.loadCats(coco.getCatIds())] == [1, 2]  # things only
    for annotation, segment in zip(coco.loadAnns(coco.getAnnIds()), (5, 9, 300), strict=True):
        assert (coco.annToMask(annotation) == (read == segment)).all()
        assert annotation["iscrowd"] == (segment == 300)


def test_ids_follow_sorted_file_names_in_whatever_order_samples_come(write):
    stems = ["b", "a-b", "a", "c"]  # "a-b.png" sorts before "a.png"
    samples = [
        sample(s, instances=[{"category_id": 1, "segmentation": box(0, i + 1, 0, 1)}])
        for i, s in enumerate(stems)
    ]
    dataset = write(converted(*samples, sample("t", "test", instances=[])))
    split = dataset.split("train")
    stored = json.loads(split.instances_json.read_text())
    assert [(r.id, r.path.name) for r in split] == [(i["id"], i["file_name"]) for i in stored["images"]]
    area_of = {s: i + 1 for i, s in enumerate(stems)}
    assert [(a["id"], a["area"]) for a in stored["annotations"]] == [(r.id, area_of[r.stem]) for r in split]
    assert json.loads(dataset.split("test").instances_json.read_text())["annotations"] == []


def test_index_differs_where_the_data_does_and_only_there(write):
    """Snakemake compares the index by checksum: an equal index would keep networks trained on other data."""

    def digest(order: str = "abc", image: bytes | None = None, place=0, crowd=0, segment=5) -> str:
        samples = {}
        for stem, split in (("a", "train"), ("b", "train"), ("c", "test")):
            segments = np.full((H, W), segment)
            segments[place, 0] = 9
            infos = [{"id": segment, "category_id": 3}, {"id": 9, "category_id": 1, "iscrowd": crowd}]
            parts = {"image": image} if image and stem == "c" else {}
            samples[stem] = sample(stem, split, panoptic=(segments, infos), **parts)
        dataset = write(converted(*(samples[stem] for stem in order), categories=PANOPTIC))
        return dataset.info.digest

    same = [digest(), digest(), digest("cba")]
    other = [digest(image=png(7)), digest(place=1), digest(crowd=1), digest(segment=6)]
    assert len(set(same)) == 1 and len({*same, *other}) == 5


def test_channel_statistics_are_those_of_the_training_images(write):
    samples = [
        sample("a", image=png((0, 51, 255)), semantic=zeros()),
        sample("b", image=png((255, 51, 255)), semantic=zeros()),
        sample("c", "test", image=png((9, 9, 9)), semantic=zeros()),
    ]
    info = write(converted(*samples)).info
    np.testing.assert_allclose(info.mean, [0.5, 0.2, 1.0])
    np.testing.assert_allclose(info.std, [0.5, 0.0, 0.0], atol=1e-9)
    grey = write(converted(*pair(image=png(51, "L"), semantic=zeros())), channels=1, name="grey").info
    np.testing.assert_allclose(grey.mean, [0.2])


def test_images_are_hard_links_to_the_original_file(write, tmp_path: Path):
    source = tmp_path / "source.png"
    source.write_bytes(png())
    link = tmp_path / "link.png"
    link.symlink_to(source)
    dataset = write(converted(*pair(image=source, semantic=zeros())))
    assert source.samefile(dataset.split("train").images[0].path)
    linked = write(converted(*pair(image=link, semantic=zeros())), name="linked")
    assert not linked.split("train").images[0].path.is_symlink()


def test_images_are_copied_where_links_are_impossible(write, tmp_path: Path, monkeypatch):
    def refuse(*_):
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    source = tmp_path / "source.png"
    source.write_bytes(png((1, 2, 3)))
    dataset = write(converted(*pair(image=source, semantic=zeros())))
    assert dataset.split("train").images[0].path.read_bytes() == source.read_bytes()


def bad(message: str, *samples: Sample, categories=THINGS):
    return pytest.param(samples, categories, message, id=message[:40])


@pytest.mark.parametrize(
    ("samples", "categories", "message"),
    [
        bad("train/a.png: label 7 at x=0, y=0 is not in the class list", sample(semantic=zeros() + 7)),
        bad("the semantic mask has 6x8 pixels, the image has 8x6", sample(semantic=zeros().T)),
        bad("category 9 is not in the class list", sample(instances=[{"category_id": 9}])),
        bad(
            "object 1 (c1): polygon coordinate nan",
            sample(instances=[{"category_id": 1, "segmentation": [[0, 0, 1, 1, 2, float("nan")]]}]),
        ),
        bad(
            "segment id 8 of the panoptic mask",
            sample(panoptic=(zeros() + 8, [])),
            categories=PANOPTIC,
        ),
        bad(
            "lists a segment id twice",
            sample(panoptic=(zeros() + 1, [{"id": 1, "category_id": 1}] * 2)),
            categories=PANOPTIC,
        ),
        bad("two images of the split 'train' are named 'a'", *[sample(semantic=zeros())] * 2),
        bad("'../a' cannot be the name", sample("../a", semantic=zeros())),
        bad("'..' cannot be the name", sample("..", semantic=zeros())),
        bad("'a\\\\b' cannot be the name", sample("a\\b", semantic=zeros())),
        bad("'' cannot be the name", sample("", semantic=zeros())),
        bad("images of type '.exe'", Sample("train", "a", png(), ".exe", semantic=zeros())),
        bad("no-such.png: the image does not exist", sample(image=Path("no-such.png"), semantic=zeros())),
        bad("a.png: is not a readable image", sample(image=png()[:40], semantic=zeros())),
        bad("the split 'test' has no image", sample(semantic=zeros())),
        bad("the split 'train' has no image", sample(split="test", semantic=zeros())),
        bad("the split 'train' has no image"),
    ],
)
def test_faults_of_the_data_name_file_and_remedy_and_leave_nothing(
    write, tmp_path: Path, samples, categories, message: str
):
    with pytest.raises(SegbenchError, match=re.escape(message)) as error:
        write(converted(*samples, categories=categories))
    assert error.value.where and error.value.remedy
    assert not list((tmp_path / "datasets").iterdir())


def test_background_is_not_a_class_of_a_dataset_without_background(write):
    with pytest.raises(SegbenchError, match="label 0 at x=3, y=2"):
        ids = zeros() + 1
        ids[2, 3] = 0
        write(converted(sample(semantic=ids), background=False))


@pytest.mark.parametrize(
    ("samples", "categories"),
    [
        ([sample(semantic=zeros()), sample("b", instances=[])], THINGS),
        ([sample()], THINGS),
        ([sample(semantic=zeros())], THINGS[1:]),
        ([sample(instances=[{"category_id": 3, "segmentation": box(0, 1, 0, 1)}])], PANOPTIC),
    ],
)
def test_defects_of_a_converter_are_no_user_errors(write, samples, categories):
    with pytest.raises(ValueError):
        write(converted(*samples, categories=categories))


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found


def turned() -> bytes:
    """An image that is stored 8 wide and 6 high, and shown 6 wide and 8 high."""
    file = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(H, W)).save(file, "PNG", exif=exif(6))
    return file.getvalue()


def test_stored_pixels_stay_as_they_are(write):
    dataset = write(converted(*(sample(s, s, image=turned(), semantic=zeros()) for s in ("train", "test"))))
    split = dataset.split("train")
    assert split.images[0].path.read_bytes() == turned()
    assert split.read_image(split.images[0])[:, :, 0].tolist() == np.arange(48).reshape(H, W).tolist()


@pytest.mark.parametrize(
    ("orientation", "shape", "message"),
    [
        (
            "stored",
            (W, H),
            "6x8 pixels, the image has 8x6 as the file stores it; it fits only as viewers",
        ),
        (
            "upright",
            (H, W),
            "8x6 pixels, the image has 6x8 as viewers show it; it fits only as the file",
        ),
    ],
)
@pytest.mark.parametrize("part", ["semantic", "instances", "size"])
def test_a_truth_that_fits_only_the_other_way_round(write, orientation, shape, message, part):
    values = {
        "semantic": np.zeros(shape, int),
        "instances": [{"category_id": 1, "segmentation": np.ones(shape, bool)}],
        "size": shape[::-1],
    }
    parts = {part: values[part]} | ({"instances": []} if part == "size" else {})
    samples = [sample("a", image=turned(), **parts)]
    with pytest.raises(SegbenchError, match=re.escape(message)) as error:
        write(Converted(THINGS, True, "test", samples, orientation=orientation))
    assert ("mogrify" if orientation == "stored" else "exiftool") in str(error.value.remedy)


def outline(x: float, y: float, size: float = 2) -> list[dict]:
    corners = [x, y, x + size, y, x + size, y + size, x, y + size]
    return [{"category_id": 1, "segmentation": [corners]}]


def test_objects_outside_of_their_images_are_listed_together(write, tmp_path: Path):
    samples = [
        sample("a", instances=outline(-5, 1)),
        sample("b", instances=outline(1, 1)),
        sample("c", instances=outline(1, H)),
        sample("d", "test", instances=outline(9, 1)),
    ]
    with pytest.raises(SegbenchError, match="3 errors") as error:
        write(converted(*samples))
    assert str(error.value).splitlines()[1:4] == [
        "  train/a.png: outside of the image (8x6 pixels): object 1 (c1, x -5 to -3, y 1 to 3)",
        "  train/c.png: outside of the image (8x6 pixels): object 1 (c1, x 1 to 3, y 6 to 8)",
        "  test/d.png: outside of the image (8x6 pixels): object 1 (c1, x 9 to 11, y 1 to 3)",
    ]
    assert "same orientation" in str(error.value.remedy)
    assert not list((tmp_path / "datasets").iterdir())


def test_objects_between_pixels_are_dropped(write, caplog):
    found = write(converted(*pair(instances=outline(1.1, 1.1, 0.2) + outline(2, 2))))
    assert found.info.max_instances == 1
    assert "2 masks without a pixel were skipped" in caplog.text


@pytest.mark.parametrize(
    ("names", "background", "message"),
    [
        (["", "b"], True, "the name of class 1 is empty"),
        ([" \t", "b"], False, "the name of class 1 is empty"),
        (["a", "background"], True, "'background' is the name of the implicit class 0"),
        (["a", "Background"], True, "'Background' is the name"),
        (["a", "_background_"], True, "'_background_' is the name"),
        (["a", "a"], True, "2 classes are named 'a'"),
        (["Cat", "cat"], True, "2 classes are named 'cat' (upper and lower case"),
        (["a ", "b"], True, "'a ' begins or ends with a space"),
        (["a\nb", "b"], True, "cannot be printed"),
    ],
)
def test_class_names(write, names: list[str], background: bool, message: str):
    categories = [Category(id=i, name=n, isthing=True, color=(0, 0, i)) for i, n in enumerate(names, 1)]
    with pytest.raises(SegbenchError, match=re.escape(message)) as error:
        write(converted(*pair(semantic=zeros()), categories=categories, background=background))
    assert error.value.where == "dataset toy" and error.value.remedy


def test_a_class_may_be_called_background_where_none_is_implicit(write):
    categories = [Category(id=1, name="background", isthing=False, color=(0, 0, 1))]
    ones = np.ones((H, W), int)
    assert write(converted(*pair(semantic=ones), categories=categories, background=False)).info.categories


@pytest.mark.parametrize("stem", ["a{b}", "a[1]", "it's", 'a"b', "a b", "größe", "100%"])
def test_names_with_signs(write, stem: str):
    samples = [sample(stem, s, image=png(i), semantic=zeros()) for i, s in enumerate(("train", "test"))]
    split = write(converted(*samples)).split("train")
    assert [r.stem for r in split] == [stem] and (split.read_semantic(stem) == 0).all()


def test_a_large_image_is_allowed_in_every_later_step(write, monkeypatch):
    monkeypatch.setattr(images, "_allowed", 20)
    with pytest.raises(SegbenchError, match="8x6 pixels; up to 20 are allowed"):
        write(converted(*pair(semantic=zeros())))
    images.allow_pixels(48)
    dataset = write(converted(*pair(semantic=zeros())), max_pixels=48)
    monkeypatch.setattr(images, "_allowed", 20)
    again = pickle.loads(pickle.dumps(Dataset(dataset.root))).split("train")  # as in a loader process
    assert again.read_image(again.images[0]).shape == (H, W, 3)


def test_groups_are_stored_by_name(write):
    def pair_of(group: str | None) -> Dataset:
        return write(converted(*pair(semantic=zeros()), sample("c", group=group, semantic=zeros())))

    plain = pair_of(None)
    assert not plain.split("train").groups_json.exists() and plain.split("train").groups() == {}
    digest = plain.info.digest
    dataset = pair_of("patient 7")
    assert json.loads(dataset.split("train").groups_json.read_text()) == {"c": "patient 7"}
    assert dataset.split("train").groups() == {"c": "patient 7"} and dataset.split("test").groups() == {}
    assert digest != dataset.info.digest != pair_of("patient 8").info.digest
