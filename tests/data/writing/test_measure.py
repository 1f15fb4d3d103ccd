"""Statistics of the truth, against a count pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from segbench.contract.view import Category
from segbench.data.writing.measure import TruthStatistics, measure_map

CATEGORIES = [Category(id=k, name=f"c{k}", isthing=True, color=(0, 0, k)) for k in (1, 2, 3)]


def counted(member):
    """Pixels of a class, and their sides that touch another pixel of the image that is not of it."""
    height, width = member.shape
    sides = 0
    for y in range(height):
        for x in range(width):
            for b, a in ((y + 1, x), (y, x + 1)):
                sides += b < height and a < width and bool(member[y, x]) != bool(member[b, a])
    return int(member.sum()), sides


MAPS = arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=7), elements=st.integers(-1, 3))


@settings(max_examples=60, deadline=None)
@given(MAPS)
def test_pixels_and_sides_as_counted_one_by_one(ids):
    pixels, sides = measure_map(ids, 3, overlapping=False)
    assert list(zip(pixels, sides)) == [counted(ids == k) for k in range(4)]


@settings(max_examples=60, deadline=None)
@given(MAPS.map(lambda ids: np.where(ids == 3, 7, ids)))
def test_pixels_and_sides_of_overlapping_classes(bits):
    pixels, sides = measure_map(bits, 3, overlapping=True)
    expected = [counted((bits >= 0) & ((bits >> k) & 1 == 1)) for k in range(3)]
    assert list(zip(pixels, sides)) == [(0, 0), *expected]


def test_width_of_a_strip_is_exact_up_to_the_mean_over_directions():
    ids = np.zeros((40, 200), np.int32)
    ids[10:16] = 1
    pixels, sides = measure_map(ids, 3, overlapping=False)
    measures = TruthStatistics(CATEGORIES, background=True, overlapping=False)
    measures.add(40, 200, {"pixels": pixels, "sides": sides, "labelled": ids.size}, [])
    found = measures.result().classes[1]
    assert found.width == pytest.approx(6 * 4 / math.pi, abs=1e-4)
    assert found.pixels == pytest.approx(6 / 40)
    assert found.images == 1


OBJECT = st.fixed_dictionaries(
    {
        "category_id": st.integers(1, 3),
        "iscrowd": st.integers(0, 1),
        "area": st.integers(1, 900),
        "bbox": st.tuples(st.just(0), st.just(0), st.integers(1, 60), st.integers(1, 60)).map(list),
    }
)
IMAGE = st.tuples(st.integers(10, 90), st.integers(10, 90), st.lists(OBJECT, max_size=5))


@settings(max_examples=60, deadline=None)
@given(st.lists(IMAGE, min_size=1, max_size=6), st.randoms())
def test_objects_against_numpy_in_any_order(images, random):
    measures, shuffled = (TruthStatistics(CATEGORIES, True, False) for _ in range(2))
    for height, width, objects in images:
        measures.add(height, width, None, objects)
    for height, width, objects in random.sample(images, len(images)):
        shuffled.add(height, width, None, objects)
    found = measures.result()
    assert found == shuffled.result()
    whole = [(h, w, o) for h, w, objects in images for o in objects if not o["iscrowd"]]
    assert found.images == len(images)
    assert found.short_side.p50 == np.median([min(h, w) for h, w, _ in images])
    assert found.objects_per_image.max == max(sum(not o["iscrowd"] for o in os) for _, _, os in images)
    for one in found.classes:
        assert one.pixels is None
        assert one.objects == sum(o["category_id"] == one.id for _, _, o in whole)
    if not whole:
        assert found.object_size is None
        return
    assert found.object_size.p75 == round(np.quantile([math.sqrt(o["area"]) for *_, o in whole], 0.75), 4)
    assert found.object_side.p25 == round(np.quantile([max(o["bbox"][2:]) for *_, o in whole], 0.25), 4)
    relative = [max(o["bbox"][2:]) / max(h, w) for h, w, o in whole]
    assert found.object_side_relative.p50 == round(np.median(relative), 4)
