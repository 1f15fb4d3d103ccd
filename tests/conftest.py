"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

MIRROR = Path(os.environ.get("SEGBENCH_MIRROR", Path(__file__).parents[2] / "shared" / "mirror"))


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Let one worker run all tests that share a fixture of their module, so that it is made once."""
    for item in items:
        fixtures = item._fixtureinfo.name2fixturedefs.values()
        shared = any(definitions[-1].scope == "module" for definitions in fixtures)
        if shared and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.module.__name__))


@pytest.fixture(scope="session")
def mirror() -> Path:
    """Folder with real archives, cut small; set SEGBENCH_MIRROR to use another."""
    if not (MIRROR / "SHA256SUMS").exists():
        pytest.skip(f"no data mirror at {MIRROR} (set SEGBENCH_MIRROR)")
    return MIRROR


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A panoptic dataset of boxes and discs over sky and ground: 12 train, 3 val, 5 test images, two sizes.

    Channel 0 of every image is 50 times the category id (0 = void); channel 1 is 20 times the segment id.
    Boxes and discs do not overlap. Image `train/00` has a crowd and a void stripe.
    """
    import io

    import numpy as np
    from PIL import Image

    from segbench.contract.view import Category
    from segbench.data.dataset import Converted, Sample
    from segbench.data.writing.writer import write_dataset

    names = [("sky", False), ("ground", False), ("box", True), ("disc", True)]
    categories = [
        Category(id=i, name=name, isthing=thing, color=(60 * i, 255 - 60 * i, 90))
        for i, (name, thing) in enumerate(names, 1)
    ]

    def draw(split: str, number: int) -> Sample:
        rng = np.random.default_rng([number, len(split)])
        height, width = (40, 56) if number % 3 else (48, 60)
        y, x = np.mgrid[:height, :width]
        ids = np.where(y < height // 2, 1, 2)
        info = [{"id": 1, "category_id": 1}, {"id": 2, "category_id": 2}]
        for segment in range(3, 3 + rng.integers(2, 5)):  # one to each 12 pixel wide column: no overlap
            top, size = rng.integers(2, height - 14), rng.integers(6, 11)
            left = 1 + 13 * (segment - 3)
            box = segment % 2
            inside = (y >= top) & (y < top + size) & (x >= left) & (x < left + size)
            middle = (size - 1) / 2
            disc = (y - top - middle) ** 2 + (x - left - middle) ** 2 <= (size / 2) ** 2
            ids[inside if box else disc] = segment
            info.append({"id": segment, "category_id": 3 if box else 4})
        if (split, number) == ("train", 0):
            ids[:, -3:] = 0
            info[2]["iscrowd"] = 1
        lut = np.zeros(ids.max() + 1, int)
        lut[[s["id"] for s in info]] = [s["category_id"] for s in info]
        image = np.stack([50 * lut[ids], 20 * ids, rng.integers(100, 120, ids.shape)], -1).astype(np.uint8)
        png = io.BytesIO()
        Image.fromarray(image).save(png, "PNG")
        return Sample(split, f"{number:02}", png.getvalue(), ".png", panoptic=(ids, info))

    samples = [
        draw(split, n) for split, count in (("train", 12), ("val", 3), ("test", 5)) for n in range(count)
    ]
    root = tmp_path_factory.mktemp("shapes") / "shapes"
    write_dataset(
        Converted(categories, False, "test", samples, orientation="stored"),
        root,
        name="shapes",
        title="Shapes",
        licence="CC0-1.0",
        citation="",
        archives={},
        channels=3,
    )
    return root
