from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from segbench.data.lint.duplicates import near_duplicates, perceptual_hash


def scene(seed: int) -> Image.Image:
    """Smooth structure, as a photograph has it."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC)


def jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=60)
    return Image.open(file)


def hash_of(image: Image.Image) -> int | None:
    return perceptual_hash(np.atleast_3d(np.asarray(image)))


@pytest.mark.parametrize(
    "change",
    [jpeg, lambda i: i.resize((80, 60)), lambda i: ImageEnhance.Contrast(i).enhance(0.8)],
    ids=["jpeg", "size", "contrast"],
)
def test_the_same_scene_has_a_similar_hash(change) -> None:
    for seed in range(5):
        one, other = hash_of(scene(seed)), hash_of(change(scene(seed)))
        assert one is not None and other is not None and (one ^ other).bit_count() <= 3


def test_other_scenes_have_unlike_hashes_and_flat_images_none() -> None:
    hashes = [hash_of(scene(seed)) for seed in range(10)]
    assert min((a ^ b).bit_count() for a in hashes for b in hashes if a != b) > 10
    assert hash_of(Image.new("RGB", (40, 40), (9, 200, 9))) is None


def test_deep_images_are_scaled() -> None:
    grey = np.asarray(scene(1).convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 4 + 300)
    assert (hash_of(deep) ^ hash_of(scene(1))).bit_count() <= 3


def test_all_pairs_across_splits_are_found() -> None:
    """Compared with all pairs, for random hashes to which few bits were changed."""
    rng = np.random.default_rng(0)
    base = [int(v) for v in rng.integers(0, 2**63, 300, dtype=np.int64)]
    near = [v ^ sum(1 << int(b) for b in rng.choice(64, n % 6, replace=False)) for n, v in enumerate(base)]
    hashes, splits = base + near, [("train", "test", "val")[n % 3] for n in range(600)]
    expected = {
        (a, b, (hashes[a] ^ hashes[b]).bit_count())
        for a in range(600)
        for b in range(a + 1, 600)
        if splits[a] != splits[b] and (hashes[a] ^ hashes[b]).bit_count() <= 3
    }
    found = near_duplicates(hashes, splits)
    assert set(found) == expected and [d for *_, d in found] == sorted(d for *_, d in found)


def test_many_equal_hashes_count_as_one() -> None:
    splits = ["train"] * 5000 + ["test"]
    assert near_duplicates([5] * 5000 + [7], splits) == [(0, 5000, 1)]
