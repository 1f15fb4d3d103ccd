from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segbench.data.images import read_image, read_upright

STORED = {  # how a camera held in eight ways stores the upright image [[1, 2, 3], [4, 5, 6]]
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[3, 2, 1], [6, 5, 4]],
    3: [[6, 5, 4], [3, 2, 1]],
    4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]],
    6: [[3, 6], [2, 5], [1, 4]],
    7: [[6, 3], [5, 2], [4, 1]],
    8: [[4, 1], [5, 2], [6, 3]],
}


@pytest.mark.parametrize("orientation", STORED)
def test_all_eight_orientations(orientation: int, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.array(STORED[orientation], np.uint8)).save(path, exif=exif)
    assert read_upright(path, 1)[:, :, 0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert read_image(path, 1)[:, :, 0].tolist() == STORED[orientation]
