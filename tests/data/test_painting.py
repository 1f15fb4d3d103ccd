from __future__ import annotations

import numpy as np
import pytest

from segbench.contract.view import Category
from segbench.data.painting import VOID, Region, paint, shown
from segbench.errors import SegbenchError

STUFF = Category(id=1, name="stuff", isthing=False, color=(255, 0, 0))
THING = Category(id=2, name="thing", isthing=True, color=(0, 0, 255))


def test_paint_tints_regions_outlines_objects_and_hatches_void():
    image = np.full((20, 30, 3), 100, np.uint8)
    masks = np.zeros((3, 20, 30), bool)
    masks[0, :, :10], masks[1, :, 10:20], masks[2, :, 20:] = True, True, True
    regions = [Region(STUFF, masks[0]), Region(THING, masks[1], is_object=True), Region(VOID, masks[2])]
    out = paint(image, regions).astype(int)
    red, blue = out[10, 5], out[10, 15]
    assert red[0] > 150 and red[1] < 60 and red[2] < 60
    assert blue[2] > 150 and blue[2] > blue[0] + 80
    assert (out[10, 10] > blue + 50).any(), "the outline is lighter"
    hatched = (out[:, 20:] != 100).any(-1).mean()
    assert 0.2 < hatched < 0.5


def test_images_of_any_channels_are_shown() -> None:
    bands = np.arange(5 * 6 * 5, dtype=np.uint8).reshape(5, 6, 5)
    assert (shown(bands) == bands[:, :, :1]).all() and shown(bands).shape == (5, 6, 3)
    assert (shown(bands, [4, 3, 2]) == bands[:, :, [3, 2, 1]]).all()
    assert (shown(bands, [5]) == bands[:, :, 4:]).all()
    assert (shown(bands[:, :, :3]) == bands[:, :, :3]).all()
    assert (shown(bands[:, :, :2]) == bands[:, :, :1]).all()
    assert shown(np.float32([[[0, 0.5, 1]]])).tolist() == [[[0, 128, 255]]]
    with pytest.raises(SegbenchError, match=r"channel 6 cannot be shown: images have 5\n.*from 1 to 5"):
        shown(bands, [1, 6, 2])


def test_a_frame_leaves_its_inside_as_it_is():
    image = np.full((20, 30, 3), 100, np.uint8)
    mask = np.zeros((20, 30), bool)
    mask[4:14, 5:25] = True
    inside = np.zeros((20, 30), bool)
    inside[6:12, 7:23] = True
    out = paint(image, [Region(THING, mask, is_object=True, frame=True)])
    assert ((out != 100).any(-1) == (mask & ~inside)).all()
    assert (out[4, 5] == THING.color).all()


@pytest.mark.parametrize("share", [0.05, 0.95])
def test_full_and_sparse_masks_are_blended_alike(share):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    mask = rng.random((30, 40)) < share
    category = Category(id=1, name="a", isthing=False, color=(250, 3, 120))
    expected = image.astype(np.float32)
    expected[mask] = np.float32(0.42) * expected[mask] + np.float32(0.58) * np.float32([250, 3, 120])
    assert (paint(image, [Region(category, mask)]) == expected.astype(np.uint8)).all()
