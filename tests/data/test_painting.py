from __future__ import annotations

import numpy as np

from segbench.contract.view import Category
from segbench.data.painting import VOID, Region, paint

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


def test_a_frame_leaves_its_inside_as_it_is():
    image = np.full((20, 30, 3), 100, np.uint8)
    mask = np.zeros((20, 30), bool)
    mask[4:14, 5:25] = True
    inside = np.zeros((20, 30), bool)
    inside[6:12, 7:23] = True
    out = paint(image, [Region(THING, mask, is_object=True, frame=True)])
    assert ((out != 100).any(-1) == (mask & ~inside)).all()
    assert (out[4, 5] == THING.color).all()
