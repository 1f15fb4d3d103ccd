"""Generated datasets: determinism, exact truth, options."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from segbench.data.dataset import Sample
from segbench.data.generated import bubbles, street, vessels
from segbench.data.generated.scene import FINE, at_centres, coordinates, develop
from segbench.data.writing.writer import write_dataset
from segbench.errors import SegbenchError

FAMILIES = {"vessels": vessels, "bubbles": bubbles, "street": street}
IMAGES = {"train": 3, "test": 2}
family = pytest.mark.parametrize("name", FAMILIES)


def samples(name: str, seed: int = 0, size=(96, 128), images=IMAGES) -> list[Sample]:
    options = {"seed": seed, "size": list(size), "images": images}
    return list(FAMILIES[name].convert({}, options).samples)


def pixels(sample: Sample) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(sample.image)))


def truth_bytes(sample: Sample) -> bytes:
    if sample.semantic is not None:
        return sample.semantic.tobytes()
    if sample.instances is not None:
        return b"".join(a["segmentation"].tobytes() for a in sample.instances)
    return sample.panoptic[0].tobytes()


@family
def test_same_seed_same_bytes_and_no_two_images_alike(name):
    first, again, other = samples(name), samples(name), samples(name, seed=1)
    assert [s.image for s in first] == [s.image for s in again]
    assert [truth_bytes(s) for s in first] == [truth_bytes(s) for s in again]
    assert len({s.image for s in [*first, *other]}) == 10
    assert len({s.stem for s in first}) == 5


@family
def test_an_image_does_not_depend_on_the_number_of_others(name):
    few = {s.stem: s.image for s in samples(name, images={"train": 1, "test": 1})}
    many = {s.stem: s.image for s in samples(name, images={"train": 2, "val": 1, "test": 1})}
    assert few.items() <= many.items()
    assert len(many) == 4


@family
@pytest.mark.parametrize("size", [(32, 32), (131, 67)])
def test_any_size(name, size):
    for sample in samples(name, size=size, images={"train": 3, "test": 1}):
        assert pixels(sample).shape[:2] == size
        if sample.panoptic is not None:
            assert sample.panoptic[0].shape == size


@family
def test_becomes_a_canonical_dataset(name, tmp_path):
    options = {"size": [96, 128], "images": IMAGES}
    info = write_dataset(
        FAMILIES[name].convert({}, options),
        tmp_path / name,
        name=name,
        title=name,
        licence="",
        citation="",
        archives={},
        channels=1 if name == "vessels" else 3,
    )
    assert info.splits == {"test": 2, "train": 3}
    expected = {"vessels": 1, "bubbles": 3, "street": 4}
    assert len(info.tasks) == expected[name]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"size": [96, 128], "images": {"train": 3}}, "lacks test"),
        ({"size": [96, 128], "images": {"train": 0, "test": 1}}, "images.train = 0"),
        ({"size": [96, 128], "images": {"train": 1, "tset": 1}}, "tset"),
        ({"size": [8, 128], "images": IMAGES}, "size.0 = 8"),
        ({"size": 96, "images": IMAGES}, "size = 96"),
        ({"size": [96, 128], "images": IMAGES, "sead": 1}, "sead"),
        ({"size": [96, 128], "images": IMAGES, "seed": -1}, "seed = -1"),
    ],
)
def test_nonsense_options_are_told(options, fault):
    with pytest.raises(SegbenchError, match=fault) as caught:
        vessels.convert({}, options)
    assert "remedy" in str(caught.value)


def test_truth_is_the_middle_sample_and_the_image_the_mean():
    rows, _ = coordinates((4, 5))
    edge = np.broadcast_to(rows < 2.4, (4 * FINE, 5 * FINE))
    np.testing.assert_array_equal(at_centres(edge)[:, 0], [True, True, False, False])
    np.testing.assert_array_equal(rows[FINE // 2 :: FINE, 0], [0.5, 1.5, 2.5, 3.5])
    image = develop(np.random.default_rng(0), edge.astype(np.float32), grain=0)
    np.testing.assert_array_equal(image[:, 0], [255, 255, 85, 0])


def test_vessels_are_thin_and_darker_than_what_surrounds_them():
    for sample in samples("vessels", size=(160, 160)):
        vessel, image = sample.semantic > 0, pixels(sample).astype(float)
        assert image.ndim == 2
        assert 0.05 < vessel.mean() < 0.35
        assert ndimage.distance_transform_edt(vessel).max() < 8
        around = ndimage.binary_dilation(vessel, iterations=3) & ~ndimage.binary_dilation(vessel)
        assert image[vessel].mean() < image[around & (image > 20)].mean() - 4


def test_bubbles_overlap_with_full_outlines():
    overlaps = 0
    for sample in samples("bubbles", size=(160, 160)):
        masks = np.array([a["segmentation"] for a in sample.instances])
        assert len(masks) >= 5
        assert masks.any(axis=(1, 2)).all()
        for mask in masks:  # one piece without holes, also where a nearer bubble covers it
            assert ndimage.label(mask)[1] == 1
            assert (ndimage.binary_fill_holes(mask) == mask).all()
        overlaps += int((masks.sum(axis=0) > 1).sum())
    assert overlaps > 100


def test_bubble_outlines_lie_on_edges_of_the_image():
    for sample in samples("bubbles", size=(160, 160)):
        steps = ndimage.gaussian_gradient_magnitude(pixels(sample).mean(axis=2), 1)
        masks = np.array([a["segmentation"] for a in sample.instances])
        outline = np.zeros(masks.shape[1:], bool)
        for mask in masks:
            outline |= mask ^ ndimage.binary_erosion(mask, border_value=1)
        assert steps[outline].mean() > 2 * steps[~masks.any(axis=0)].mean()


def test_street_is_labelled_everywhere_and_holds_every_class():
    seen: set[int] = set()
    for sample in samples("street", size=(128, 192), images={"train": 6, "test": 1}):
        segments, info = sample.panoptic
        assert sorted(s["id"] for s in info) == np.unique(segments).tolist()
        assert segments.min() > 0
        classes = [s["category_id"] for s in info]
        assert classes.count(1) <= 1
        assert classes.count(2) == 1
        assert classes.count(3) <= 1
        seen |= set(classes)
    assert seen == {1, 2, 3, 4, 5, 6}


def test_street_is_seen_in_perspective():
    """The sky is above the road: in no column does sky follow road from top to bottom."""
    for sample in samples("street", size=(128, 192)):
        segments, _ = sample.panoptic
        for column in segments.T:
            stuff = column[np.isin(column, [1, 2])]
            assert all(b >= a for a, b in pairwise(stuff.tolist()))


def test_things_of_a_street_occlude_each_other():
    """Some thing is covered in part by a nearer one: neighbours with different ids."""
    touching = 0
    for sample in samples("street", size=(128, 192), images={"train": 6, "test": 1}):
        segments, info = sample.panoptic
        things = [s["id"] for s in info if s["category_id"] > 3]
        a, b = segments[:, :-1], segments[:, 1:]
        touching += int((np.isin(a, things) & np.isin(b, things) & (a != b)).sum())
    assert touching > 10
